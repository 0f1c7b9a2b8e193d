"""What a pair is flagged for; the words stand apart from the model, for the report."""

SHORT_CUTS = {
    "answer_in_prompt": "an answer stands in a prompt",
    "answer_changed": "an answer is one of the changed tokens",
    "special_tokens": "a prompt or an answer holds a special token",
    "punctuation_answer": "an answer has no letter or digit",
    "answers_moved": "an answer is not the model's likeliest token",
    "round_trip": "the text does not tokenise back",
}
"""What a pair is flagged for, by column of `pair_validation.COLUMNS`; ``round_trip`` is flagged
where it is false, the others where they are true."""
