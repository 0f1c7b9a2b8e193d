"""Common English first names, by the pronoun they usually go with."""

from __future__ import annotations

FEMALE = (
    *("Alice", "Amanda", "Amelia", "Amy", "Angela", "Anna", "Anne", "Barbara", "Betty", "Carol"),
    *("Caroline", "Catherine", "Charlotte", "Christina", "Christine", "Claire", "Clara", "Deborah"),
    *("Diana", "Dorothy", "Elizabeth", "Ellen", "Emily", "Emma", "Eva", "Hannah", "Heather"),
    *("Helen", "Jane", "Jennifer", "Jessica", "Julia", "Julie", "Karen", "Kate", "Katie", "Laura"),
    *("Linda", "Lisa", "Louise", "Lucy", "Margaret", "Maria", "Marie", "Martha", "Mary", "Melissa"),
    *("Michelle", "Molly", "Monica", "Nancy", "Nicole", "Nina", "Olivia", "Patricia", "Rachel"),
    *("Rebecca", "Ruth", "Samantha", "Sandra", "Sarah", "Sharon", "Sophia", "Sophie", "Susan"),
    *("Victoria",),
)

MALE = (
    *("Aaron", "Adam", "Alan", "Albert", "Alexander", "Andrew", "Anthony", "Arthur", "Benjamin"),
    *("Brian", "Bruce", "Carl", "Charles", "Christopher", "Daniel", "David", "Dennis", "Donald"),
    *("Edward", "Eric", "Fred", "Gary", "George", "Gregory", "Harold", "Harry", "Henry", "Howard"),
    *("Jack", "James", "Jason", "Jeffrey", "Jim", "Joe", "John", "Jonathan", "Joseph", "Joshua"),
    *("Justin", "Kenneth", "Kevin", "Larry", "Louis", "Luke", "Mark", "Martin", "Matthew"),
    *("Michael", "Mike", "Nathan", "Neil", "Nicholas", "Oliver", "Oscar", "Patrick", "Paul"),
    *("Peter", "Philip", "Ralph", "Raymond", "Richard", "Robert", "Roger", "Ronald", "Samuel"),
    *("Scott", "Sean", "Simon", "Stephen", "Steve", "Thomas", "Tim", "Timothy", "Tom", "Walter"),
    *("William",),
)
