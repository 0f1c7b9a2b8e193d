"""Counterpoint: how each attention head moves a language model's answer between two prompts."""

__version__ = "0.1.0"
