"""`make bench`: what a job costs, how fast and how punctual Carom is on this machine."""
