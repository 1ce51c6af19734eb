"""Made-up people: word lists, and a generator of rows in PostgreSQL's COPY format.

Speed decides the shape: half a million bios of 2,000 to 5,000 characters are put together from paragraphs that
are written once. Nothing in the word lists needs escaping in COPY; e-mail and web addresses are of `.example`.
"""

import datetime
import random
import unicodedata
from collections.abc import Iterator

COLUMNS = (
    "name",
    "email",
    "address",
    "company_id",
    "job_title_id",
    "website",
    "birthday",
    "bio",
    "created",
)
COMPANIES = 2_000
PARAGRAPHS = 1_500
PARAGRAPH_BREAK = r"\n\n"  # as COPY writes it
BIO_SHORTEST = 2_000  # characters; a bio ends with the first paragraph that passes a length drawn between the two
BIO_LONGEST = 4_400
FIRST_BIRTHDAY = datetime.date(1946, 1, 1)
BIRTHDAYS = 60 * 365

FIRST_NAMES = """
Aaliyah Adam Agnieszka Aiko Alejandro Amara Amélie Anders Aneta Anh Anika Anna Arjun Astrid Ayşe Beatriz Ben Björn
Bogdan Camila Carlos Chiara Chloé Chidi Clara Dagny Daniel Dara David Deniz Diego Dmitri Eilidh Elena Elif Emeka
Emil Emma Erik Esra Esther Eva Farah Fatima Felix Finn Fiona Francesca Freya Gabriel Giulia Grace Greta Hana
Hannah Haruto Hassan Helena Hugo Ibrahim Ida Ilse Imani Ines Ingrid Isaac Isabel Ivan Jack Jakob Jana Jasmin Javier
Jelena João Johanna Jonas José Julia Kaito Karim Karin Katarzyna Kenji Kofi Lars Layla Lea Leila Lena Leo Liam Lin
Linh Lior Louise Lucía Luis Łukasz Maja Malik María Marek Marta Mateo Matilda Maya Mei Mia Miguel Milan Mina Minh
Mira Mohammed Nadia Naomi Natalia Nia Niamh Nikolai Nina Noah Nora Nour Olga Olivia Omar Oscar Paul Petra Priya
Rafael Rahul Rania Ravi Rebecca Renée Rosa Ruth Saanvi Samuel Sara Selma Simon Sofia Søren Stella Sven Tariq Tatiana
Thandiwe Theo Thomas Tomás Uma Valentina Vera Victor Viktor Wanjiru Xavier Yara Yasmin Yuki Yusuf Zainab Zoë Zuzana
""".split()

LAST_NAMES = """
Abbott Achebe Adeyemi Ahmed Almeida Andersson Antonov Aydın Bakker Bauer Becker Bell Berg Bianchi Björk Blanc Bose
Brandt Brooks Brown Campbell Cardoso Carter Castillo Chandra Chen Chowdhury Clarke Cohen Collins Conti Costa Cruz
Da-Silva Dahl Davies Demir Diaz Dlamini Dubois Dupont Edwards Eriksson Esposito Evans Fernández Ferrari Fischer
Fitzgerald Fontaine Foster Fraser Fujita García Gómez González Graham Greco Green Gruber Gupta Haddad Hall Hansen
Harris Hashimoto Hayes Hernández Hoang Hoffmann Holm Horváth Hughes Huang Ibrahimović Ito Ivanova Jackson Jansen
Jensen Jiménez Johansson Jones Joshi Kamau Kaplan Kato Kaur Keller Kelly Khan Kim King Klein Kovács Kowalski Krüger
Kumar Larsen Laurent Lee Lehmann Lewis Li Lindqvist López MacLeod Mahlangu Malik Marino Martin Martínez Mbeki McKenna
Mehta Mendes Meyer Mitchell Moreau Moretti Morgan Müller Murphy Nakamura Navarro Ndlovu Nguyen Nielsen Nilsen Novák
O'Brien O'Connor Okafor Okonkwo Olsen Ortega Owen Papadopoulos Park Patel Pereira Petrov Pham Popescu Quinn Rahman
Ramírez Rao Rasmussen Reid Reyes Ricci Rivera Robinson Rossi Roux Rousseau Ruiz Saito Santos Sato Schmidt Schneider
Schwarz Sharma Shaw Silva Singh Smith Sørensen Suzuki Svoboda Tanaka Taylor Thomas Torres Tran Turner Vargas Vega
Virtanen Vogel Wagner Walker Wang Watanabe Weber White Williams Wilson Wójcik Wong Wright Yamamoto Yang Yıldız Young
Zhang Zhou Ziegler Zimmermann
""".split()

COMPANY_FIRST = """
Alder Amber Anchor Arbor Aspen Beacon Birch Bluebird Bramble Bridge Brook Canyon Cedar Cobalt Compass Copper Coral
Crescent Delta Driftwood Ember Falcon Fern Fjord Foxglove Garnet Glacier Granite Harbour Hawthorn Hazel Heron
Highland Horizon Indigo Ivory Juniper Kestrel Lantern Larch Linden Lumen Maple Marble Meadow Mistral Moss Northern
Oak Onyx Opal Orchard Osprey Pebble Pine Quarry Quill Raven Ridge River
""".split()

COMPANY_SECOND = """
Analytics Architects Audio Biotech Books Bank Chemicals Clinics Cloud Coffee Consulting Dairy Design Dynamics
Education Energy Engineering Farms Films Foods Foundry Games Glassworks Health Insurance Instruments Kitchens Labs
Logistics Maps Media Mills Mobility Networks Optics Paper Partners Pharma Power Press Rail Robotics Security Software
Solar Studios Systems Textiles Travel Works
""".split()

GRADES = ["Junior", "Associate", "", "Senior", "Lead", "Principal", "Head", "Chief"]
OCCUPATIONS = [
    "Accountant", "Architect", "Biologist", "Buyer", "Chemist", "Civil Engineer", "Controller", "Copywriter",
    "Data Analyst", "Data Engineer", "Designer", "Editor", "Electrical Engineer", "Geologist", "Lawyer",
    "Mechanical Engineer", "Nurse", "Operations Manager", "Pharmacist", "Physicist", "Product Manager",
    "Software Developer", "Statistician", "Systems Administrator", "Translator",
]  # fmt: skip

STREETS = """
Abbey Baker Bridge Canal Castle Chapel Cherry Church Clover College Cooper Factory Ferry Forge Garden Granary Harbour
Hill Kiln Lake Library Linden Market Meadow Mill Museum Orchard Park Port Quarry School Spring Station Tannery Tower
Vineyard Walnut Water Weaver Willow
""".split()
STREET_KINDS = ["Street", "Road", "Lane", "Avenue", "Square", "Row"]
CITIES = """
Aarhus Accra Amsterdam Athens Auckland Barcelona Basel Bergen Berlin Bilbao Boston Bratislava Brno Brussels Bucharest
Budapest Cardiff Chicago Cologne Copenhagen Cork Denver Dresden Dublin Edinburgh Florence Galway Gdańsk Geneva Ghent
Glasgow Gothenburg Graz Hamburg Helsinki Innsbruck Kraków Kyoto Lagos Leeds Leipzig Lisbon Ljubljana London Lyon Madrid
Malmö Marseille Melbourne Milan Montréal Munich Nairobi Nantes Oslo Ottawa Porto Portland Prague Reykjavík Riga
Rotterdam Salzburg Seattle Seville Sofia Stockholm Sydney Tallinn Tartu Toronto Trieste Turin Utrecht Valencia
Vancouver Vienna Vilnius Warsaw Wellington Zagreb Zürich
""".split()

# The parts of a bio. Each {word} is drawn from the list of that name below.
SENTENCES = [
    "For {years} I {did} the {thing} of {place}, and I would do it again.",
    "Before that I {did} the {thing} for {place}, together with {people}.",
    "The best part of my work is {joy}, which happens less often than one would think.",
    "I learnt most of what I know from {people}, and the rest by {way}.",
    "These days I care about {topic} more than about {topic}.",
    "When nobody is looking I still fix the {thing} myself, usually by {way}.",
    "My first project was the {thing} of {place}; parts of it run to this day.",
    "It took us {years} to replace the {thing}, and nobody noticed, which was the plan.",
    "I like {joy}, long train rides, and conversations about {topic}.",
    "On weekends you will find me {hobby}, or {hobby} if it rains.",
    "I have given talks about {topic}, mostly to {people}.",
    "If you want to talk about {topic}, write to me; I answer within a day or two.",
    "At the moment I am {hobby} and reading everything I can find about {topic}.",
    "Somebody once asked me to explain {topic} in one sentence, and I am still working on it.",
    "I moved here {years} ago for a job at {place}, and stayed for {joy}.",
    "We {did} the {thing} during one long winter, with {people} and far too much coffee.",
    "Most problems with {topic} turn out to be problems with {topic}.",
    "I keep a notebook about the {thing}, and have lent it to {people} more than once.",
    "My parents still tell everyone that I work at {place}, although I left {years} ago.",
    "What I am proud of: we {did} the {thing}, and in {years} nobody has complained.",
    "I was taught {topic} by {people}, and I try to pass that on by {way}.",
    "Ask me about the time we {did} the {thing} in a single night.",
]
WORDS = {
    "years": [
        "two years", "three years", "four years", "six years", "eight years", "ten years", "most of a decade",
        "eighteen months", "a long summer", "five winters",
    ],
    "did": [
        "rebuilt", "designed", "looked after", "repaired", "planned", "measured", "simplified", "moved", "documented",
        "tested", "reorganised", "ran",
    ],
    "thing": [
        "booking system", "water supply", "annual report", "night shift plan", "archive", "ticket machines",
        "map collection", "delivery network", "pay roll", "laboratory", "heating plant", "signal boxes", "warehouse",
        "reading room", "measuring stations", "public website", "price lists", "training courses",
    ],
    "place": [
        "a regional railway", "a small publishing house", "the city library", "a family bakery",
        "a children's hospital", "an island ferry line", "a botanical garden", "the national weather service",
        "a bicycle factory", "a university press", "a mountain rescue team", "a theatre", "a co-operative bank",
        "a chain of cinemas", "a wind farm", "the harbour authority",
    ],
    "people": [
        "two patient colleagues", "a retired engineer", "a team of twelve", "students from three countries",
        "people far smarter than me", "the night shift", "an excellent editor", "my former boss",
        "volunteers of every age", "a very strict auditor", "the apprentices", "half of the village",
    ],
    "joy": [
        "a plan that works on the first day", "deleting things that nobody needs",
        "a quiet morning with a hard question",
        "seeing a beginner get better than me", "good bread and the view of the river", "the last week of a project",
        "finding the one number that is wrong", "a meeting that ends early", "the smell of old machines",
    ],
    "way": [
        "asking one question too many", "trying it out on a small scale", "reading the manual twice",
        "drawing it on paper", "taking it apart and putting it together again", "writing it down the same evening",
        "listening", "walking around the block", "making every mistake once",
    ],
    "topic": [
        "fair prices", "clean water", "night trains", "plain language", "honest statistics", "old maps",
        "quiet machines", "safe bridges", "slow software", "public libraries", "good tools", "bad forms",
        "city trees", "short meetings", "long-lived buildings", "the history of measuring", "bees", "handwriting",
        "accessible timetables", "wooden boats",
    ],
    "hobby": [
        "repairing bicycles", "baking rye bread", "singing in a choir", "sailing a very small boat",
        "drawing birds", "learning Finnish", "playing chess by post", "growing tomatoes", "restoring radios",
        "running along the canal", "cooking for too many guests", "climbing easy mountains", "watching trains",
        "knitting socks", "translating poems",
    ],
}  # fmt: skip


def company_names() -> list[str]:
    """The same COMPANIES names for every seed number, so that profiles can be appended to the same companies."""
    names = [f"{first} {second}" for first in COMPANY_FIRST for second in COMPANY_SECOND]
    return random.Random(0).sample(names, COMPANIES)


def job_titles() -> list[str]:
    """The same 200 titles for every seed number."""
    return [f"{grade} {occupation}".strip() for occupation in OCCUPATIONS for grade in GRADES]


def paragraphs(rng: random.Random) -> list[str]:
    """Write PARAGRAPHS paragraphs of three to five sentences, no two sentences of one alike."""
    return [
        " ".join(sentence(pattern, rng) for pattern in rng.sample(SENTENCES, rng.randint(3, 5)))
        for _ in range(PARAGRAPHS)
    ]


def sentence(pattern: str, rng: random.Random) -> str:
    """Fill in a pattern, never with the same word twice."""
    words = {name: rng.sample(choices, 2) for name, choices in WORDS.items()}
    for name, (first, second) in words.items():
        pattern = pattern.replace(f"{{{name}}}", first, 1).replace(f"{{{name}}}", second)
    return pattern


def ascii_slug(text: str) -> str:
    """Reduce a name to what an e-mail or web address can hold: `Łukasz` becomes `lukasz`."""
    text = text.translate(str.maketrans("ŁłØøı", "LlOoi"))
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(letter for letter in text.replace(" ", "-") if letter.isalnum() or letter == "-")


def rows(
    count: int,
    seed: int,
    since: datetime.datetime,
    history: datetime.timedelta,
    company_ids: list[int],
    job_title_ids: list[int],
) -> Iterator[str]:
    """Yield count lines for `COPY (COLUMNS)`, created evenly over `history` from `since` on, oldest first.

    company_ids belong to company_names() and job_title_ids to job_titles(), in their order. The same seed and
    count yield the same lines, but for ids and times.
    """
    rng = random.Random(seed)
    pool = paragraphs(rng)
    first_names = [(name, ascii_slug(name)) for name in FIRST_NAMES]
    last_names = [(name, ascii_slug(name)) for name in LAST_NAMES]
    companies = [(name, ascii_slug(name), pk) for name, pk in zip(company_names(), company_ids, strict=True)]
    titles = [(name, pk) for name, pk in zip(job_titles(), job_title_ids, strict=True)]
    streets = [f"{street} {kind}" for street in STREETS for kind in STREET_KINDS]
    birthdays = [(FIRST_BIRTHDAY + datetime.timedelta(days=day)).isoformat() for day in range(BIRTHDAYS)]
    draw = rng.random
    step = history / count
    created = since

    for _ in range(count):
        first, first_slug = first_names[int(draw() * len(first_names))]
        last, last_slug = last_names[int(draw() * len(last_names))]
        # Squared: a few large companies and many small ones.
        company, company_slug, company_id = companies[int(draw() ** 2 * len(companies))]
        title, title_id = titles[int(draw() * len(titles))]
        street = streets[int(draw() * len(streets))]
        city = CITIES[int(draw() * len(CITIES))]
        birthday = birthdays[int(draw() * BIRTHDAYS)]
        address = f"{int(draw() * 180) + 1} {street}, {city}"
        website = f"https://{first_slug}-{last_slug}.example/" if draw() < 0.7 else ""

        parts = [f"I am {first}, {title} at {company} in {city}. {pool[int(draw() * PARAGRAPHS)]}"]
        length = len(parts[0])
        wanted = BIO_SHORTEST + draw() * (BIO_LONGEST - BIO_SHORTEST)
        while length < wanted:
            part = pool[int(draw() * PARAGRAPHS)]
            parts.append(part)
            length += len(part) + 2
        created += step
        yield (
            f"{first} {last}\t{first_slug}.{last_slug}@{company_slug}.example\t{address}\t{company_id}\t{title_id}\t"
            f"{website}\t{birthday}\t{PARAGRAPH_BREAK.join(parts)}\t{created.isoformat()}\n"
        )
