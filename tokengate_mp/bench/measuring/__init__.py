"""Who is measured, and how one sample is taken."""
