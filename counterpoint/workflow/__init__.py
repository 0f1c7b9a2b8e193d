"""What only Snakemake's side needs: configuration, provenance, plans, what must be made again.

Nothing in the other rooms imports this one, and nothing here imports snakemake. Read `config` (with
`schema`, `config_layers`, `config_mistakes`), `code_version`, `provenance`, `command_line`. What is
imported while the Snakefile is parsed needs no torch.
"""
