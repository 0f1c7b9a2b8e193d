"""What only Snakemake's side needs: configuration, provenance, plans, what must be made again.

Nothing in the other rooms imports this one, and nothing here imports snakemake. Read `config` (with
`schema`, `config_layers`, `config_mistakes`, `whole_answer_settings`, `equal_lengths`),
`named_heads`, `targets` and
`search_settings` (what a configuration asks of searches; `shown_settings` writes their settings
into schema and config), then `code_version`, `provenance`, `command_line`, `folder_locks`,
`sharding` (how many jobs a study is split into), `start_checks` (what is known before any job, with
`tokenizer_checks`), `kept_results` (what a run that fails gives back), `made_files` (records by
which lost and damaged files are noticed), `shortages` (of disk and memory, in words),
`compared_results` (two folders of results: with `compared_artifacts`, `allowed_differences` and
`provenance_differences`), and the room `planning`.
What is imported while the Snakefile is parsed needs no torch.
"""
