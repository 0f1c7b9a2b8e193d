from typing import Any


def main(snakemake: Any) -> None:
    raise NotImplementedError
