"""Getting a language model (`fetch`) and loading it (`load`)."""
