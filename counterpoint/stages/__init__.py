"""What the workflow's jobs do with one shard of a study's pairs, and with all of them."""
