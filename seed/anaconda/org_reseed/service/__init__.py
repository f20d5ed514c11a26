"""The add-on's service: a process of its own that Anaconda starts over D-Bus."""
