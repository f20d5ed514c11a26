"""The Anaconda add-on of reseed: the seed as a section of a Kickstart file."""
