"""Reading and writing files: whole or absent, known by their contents, as they are written.

Imports `errors` alone. `artifacts` first (what a killed job may leave), then `digests` and
`yaml_and_json`. `shipped_files` says where the files are that a wheel takes along, `cache_folder`
where what is fetched is kept, `allowed_names` what a name may be that becomes a path, an address or
an argument of another program; `tables_of_pairs` reads large tables some pairs at a time. No torch.
"""
