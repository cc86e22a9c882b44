"""The API, a module for each part of it; carom_intake.app puts them together."""
