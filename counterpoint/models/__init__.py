"""Language models: getting one, loading it, naming its modules; and what an architecture allows.

Imports `files`, `errors`, `progress`. Read `load` first (`LanguageModel` is what every other room
is given), then `architecture_support`: which modules of a decoder are what (`module_names` holds
the answer), or why the architecture is refused; `folder_architecture` asks that of a folder before
anything is loaded, `model_shape` how large the model is, `transformer_lens_view` gives
TransformerLens' view of it.

`given_models` is the public `load`: a model by name (`known_models`), in a folder or in memory,
there over the caller's weights (`shared_weights`) or those of a TransformerLens bridge
(`unwrapped_bridge`).

`fetch` makes the folder of a model: `sources` (a room) brings the files, `model_folder` says which
those are and what must be among them, `unchanged_folder` whether they are still what was fetched.
`checkpoint` compares weights with what a configuration describes: `stored_tensors` is what the
files hold, `loading_report` what is made of it, `misfit_causes` the likely cause;
`declared_model_kind` judges what config.json says the model is, `automatic_class` chooses its
class, `rotary` watches rotary embeddings, `no_subprocesses` keeps libraries from installing
anything. `tokenizers` and `gguf` are rooms of their own. `weight_files` and `beginning_token` need
no torch.
"""
