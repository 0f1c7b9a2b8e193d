"""Plain English sentences, of many kinds, whose beginnings a model can continue in its own way."""

PLAIN = (
    "The old man walked slowly down the road to the",
    "My sister bought a new car last week because her",
    "The capital of France is a city that many people",
    "When the rain stopped, the children went out to",
    "In the morning she made coffee and read the news",
    "The teacher asked the students to open their books",
    "He put the keys on the table and forgot",
    "The company said that it would hire more people this",
    "We took the train to the coast and stayed there for",
    "The doctor told him that he should drink more",
    "A small dog ran across the street and into",
    "She was born in Italy, but she lives in",
    "The book that I am reading is about a",
    "The team won the game because they played very",
    "After dinner they sat by the fire and told",
    "The museum is open every day from nine to",
    "His brother works in a bank in the city of",
    "They planted some trees behind the house last",
    "The cat sat by the window and watched the birds",
    "The river was too cold to swim in, so we",
)
