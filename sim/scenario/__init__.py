"""The scenario's door: YAML in, checked and frozen values out. Import the modules; this file stays empty."""
