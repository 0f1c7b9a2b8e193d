"""Texts of many kinds, whose first words a model can continue in its own way.

Heads act in some kinds of text and rest in others: in code, in lists, where words come back, in
numbers. So sentences that are to show what any head does begin in many ways.
"""

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
"""Plain English."""

OTHER = (
    "for i in range(10): print(i); for j in range",
    "if (x > 0) { return x; } else { return y;",
    '<div class="menu"><a href="index.html">Home</a><a href',
    "SELECT name, age FROM users WHERE age > 30 AND name",
    '{"name": "Anna", "age": 31, "city": "Rome"}, {"name":',
    "x = 3; y = 5; z = x + y; print(z);",
    "2 + 2 = 4, 3 + 3 = 6, 4 + 4 =",
    "The sum of 12 and 30 is 42, and the sum of 7",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday",
    "red, green, blue, red, green, blue, red",
    "Paris is to France as Rome is to Italy and as Berlin",
    "Q: What is the capital of Spain? A: Madrid. Q: What is",
    '"Where are you going?" she asked. "To the market," he said',
    "Dear Sir or Madam, I am writing to you about the",
    "Add two eggs, a cup of sugar and a pinch of salt",
    "Chapter 3: The Old House. Chapter 4: The New Road.",
    "Smith, J. (2015). A study of memory. Journal of",
    "On 12 March 1998, at 10:30 am, the train",
    "See www.example.com/news/index.html and www.example.com",
    "Le chat est sur la table et le chien est dans",
    "Der Hund läuft durch den Garten und die Katze",
    "BREAKING NEWS: THE PRESIDENT HAS LEFT THE",
    "the dog ran to the door. the dog ran to the",
    "A B C D A B C D A B C",
    "Mr. Jones met Mrs. Brown. Mr. Jones told Mrs. Brown",
    "Tom has three apples. Anna has five apples. Tom gives Anna",
    "The price rose from $10 to $15, then from $15 to $20",
    "E = mc^2, where E is energy, m is mass and c",
    "He said that she said that he said that she",
    "Step 1: Open the box. Step 2: Take out the",
    "I like tea more than coffee, and she likes coffee more than",
    "New York, NY; Los Angeles, CA; Chicago, IL; Houston",
    "The more you read, the more you learn; the less you sleep",
    "Both Anna and Peter were tired, but neither Anna nor Peter",
    "H2O, CO2, NaCl and O2 are formulas of",
    "(a) the first part, (b) the second part, (c) the",
    "Subject: meeting on Friday; From: Anna; To: Peter;",
    "a very, very, very big house and a very, very",
    "John Smith, Mary Jones, Peter Brown, Anna White and",
    "The theorem holds if and only if n is even and m",
)
"""Code, markup, sums, lists, letters, references, other languages, and words that come back."""

VARIED = (*PLAIN, *PLAIN, *OTHER)
"""Both, as often."""
