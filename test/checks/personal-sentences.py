"""Sentences with and without personal data, made by Faker; identity numbers as python-stdnum finds them valid. One JSON a line."""
import json, random, sys
from faker import Faker
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.us import ssn

each = int(sys.argv[1])
Faker.seed(7)
random.seed(7)
fakes = {locale: Faker(locale) for locale in ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL", "pl_PL", "sv_SE"]}
us = fakes["en_US"]


def groups(text, size):
    return " ".join(text[at : at + size] for at in range(0, len(text), size))


def any_fake():
    return random.choice(list(fakes.values()))


def british_number():
    while True:
        letters = random.choice("ABCEGHJKLMNOPRSTWXYZ") + random.choice("ABCEGHJKLMNPRSTWXYZ")
        if letters not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
            number = f"{letters}{random.randint(0, 999999):06}{random.choice('ABCD')}"
            return random.choice([number, groups(number, 2)])


def german_tax_id():
    while True:
        digits = "".join(random.sample("0123456789", 10))
        at, other = random.sample(range(10), 2)
        digits = digits[:at] + digits[other] + digits[at + 1 :]
        if digits[0] == "0":
            continue
        for check in "0123456789":
            if idnr.is_valid(digits + check):
                return digits + check


def french_nir():
    number = f"{random.choice('12')}{random.randint(0, 99):02}{random.randint(1, 12):02}{random.choice(['75', '13', '2A', '2B', '33'])}{random.randint(1, 990):03}{random.randint(1, 999):03}"
    return number + nir.calc_check_digits(number)


makers = {
    "email": lambda: any_fake().email(),
    "iban": lambda: random.choice([str, lambda text: groups(text, 4)])(any_fake().iban()),
    "card": lambda: random.choice([str, lambda text: groups(text, 4) if len(text) == 16 else text])(
        us.credit_card_number(random.choice(["visa16", "mastercard", "amex", "discover"]))
    ),
    "us-ssn": lambda: us.ssn(),
    "uk-nino": british_number,
    "de-tax-id": german_tax_id,
    "fr-nir": french_nir,
    "es-dni": lambda: random.choice([fakes["es_ES"].nif, fakes["es_ES"].nie])(),
    "it-fiscal-code": lambda: fakes["it_IT"].ssn(),
    "br-cpf": lambda: fakes["pt_BR"].cpf(),
    "ip": lambda: random.choice([us.ipv4_public, us.ipv4_private, us.ipv6])(),
    "phone": lambda: fakes[random.choice(["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "nl_NL", "sv_SE"])].phone_number(),
}
valid = {
    "iban": iban.is_valid, "card": luhn.is_valid, "us-ssn": ssn.is_valid, "de-tax-id": idnr.is_valid, "fr-nir": nir.is_valid,
    "es-dni": lambda text: dni.is_valid(text) or nie.is_valid(text), "it-fiscal-code": codicefiscale.is_valid, "br-cpf": cpf.is_valid,
}  # fmt: skip


def wrong(kind, text):
    """The same with two characters of one sort changed, so that its check does not hold."""
    for _ in range(100):
        characters = list(text)
        for at in random.sample([at for at, one in enumerate(characters) if one.isdigit()], 2):
            characters[at] = random.choice("123456789")
        changed = "".join(characters)
        if not any(check(changed) for check in valid.values()):
            return changed
    raise ValueError(kind)


for kind, make in makers.items():
    for _ in range(each):
        value = make()
        if kind in valid and not valid[kind](value):
            continue
        words = any_fake().sentence(6)[:-1], any_fake().sentence(5)
        print(json.dumps({"kind": kind, "text": random.choice(["{} {} {}", "{}: {}; {}", "{} ({}) {}", "{}\n{}\n{}"]).format(words[0], value, words[1]), "value": value}))
        if kind in valid and kind not in ("us-ssn", "it-fiscal-code"):
            print(json.dumps({"kind": None, "like": kind, "text": f"{words[0]} {wrong(kind, value)}, {words[1]}"}))

innocent = [
    lambda: us.iso8601(), lambda: us.date(), lambda: us.date_time().strftime("%d.%m.%Y %H:%M:%S"), lambda: us.isbn13(), lambda: us.isbn10(),
    lambda: us.uuid4(), lambda: us.sha256(), lambda: us.mac_address(), lambda: str(us.pyfloat()), lambda: f"{us.pyint():,}.{us.pyint():02}",
    lambda: f"{us.latitude()}, {us.longitude()}", lambda: f"v{random.randint(1, 9)}.{random.randint(0, 30)}.{random.randint(0, 30)}", lambda: us.ean13(),
    lambda: f"order {random.randint(10**6, 10**10)}", lambda: us.text(), lambda: us.address(), lambda: us.file_path(), lambda: us.hex_color(),
    lambda: us.pricetag(), lambda: us.license_plate(), lambda: f"section {random.randint(1, 9)}.{random.randint(1, 9)}.{random.randint(1, 9)}.{random.randint(1, 9)}",
    lambda: str([round(random.uniform(-1, 1), 8) for _ in range(5)]), lambda: " ".join(str(random.randint(0, 999)) for _ in range(8)),
]  # fmt: skip
for _ in range(each):
    for make in innocent:
        print(json.dumps({"kind": None, "text": f"{us.sentence(4)[:-1]} {make()} {us.sentence(3)}"}))
