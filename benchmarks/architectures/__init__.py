"""Every architecture that can be built tiny, measured and compared with whole passes."""
