"""Core processes of this machine: started, watched, replaced, ended."""
