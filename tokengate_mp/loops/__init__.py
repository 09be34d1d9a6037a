"""The event loop and other threads: callbacks, crossing between threads, SIGINT, timers."""
