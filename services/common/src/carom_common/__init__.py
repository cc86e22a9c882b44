"""What Carom's services share. A library: it has no entry point and is never deployed."""

__version__ = "0.1.0"
