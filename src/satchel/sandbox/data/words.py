"""Names, places and phrases the sample data is made of."""

from __future__ import annotations

FIRST_NAMES = (
    "Anna", "Ben", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Liam", "Maria",
    "Noah", "Olivia", "Paul", "Quirin", "Rosa", "Samir", "Tessa", "Umar", "Vera", "Wim", "Xenia", "Yara", "Zoë",
    "Adèle", "Björn", "Chloé", "Dmitri", "Eun-ji", "François", "Gonzalo", "Haruto", "Ingrid", "José", "Kwame",
    "Łukasz", "Mónica", "Nadia", "Øystein", "Priya", "Renée", "Søren", "Tomáš", "Ulrike", "Vikram", "Wiebke",
    "Yusuf", "Zsófia",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Bauer", "Castro", "Dvořák", "Eriksen", "Fischer", "García", "Hansen", "Ivanova", "Jansen", "Kowalski",
    "Lindqvist", "Müller", "Nakamura", "O'Brien", "Petrov", "Quinn", "Rossi", "Schäfer", "Taylor", "Ueda", "Vogel",
    "Weber", "Xu", "Yılmaz", "Zimmermann", "Ahmed", "Bianchi", "Cohen", "Dubois", "Ekström", "Ferrari", "Gruber",
    "Horvát", "Iglesias", "Jørgensen", "Keller", "Lefèvre", "Martínez", "Novák", "Okafor", "Papadopoulos", "Reyes",
    "Silva", "Tanaka", "van Dijk", "Wagner", "Yamamoto", "Zhang", "Åberg",
)  # fmt: skip
PLACES = (
    ("Berlin", "Germany", "10115", 52.52, 13.40), ("Hamburg", "Germany", "20095", 53.55, 9.99),
    ("München", "Germany", "80331", 48.14, 11.58), ("Köln", "Germany", "50667", 50.94, 6.96),
    ("Wien", "Austria", "1010", 48.21, 16.37), ("Graz", "Austria", "8010", 47.07, 15.44),
    ("Zürich", "Switzerland", "8001", 47.38, 8.54), ("Genève", "Switzerland", "1201", 46.20, 6.14),
    ("Paris", "France", "75001", 48.86, 2.35), ("Lyon", "France", "69001", 45.76, 4.84),
    ("Amsterdam", "Netherlands", "1012", 52.37, 4.90), ("København", "Denmark", "1050", 55.68, 12.57),
    ("Oslo", "Norway", "0150", 59.91, 10.75), ("Malmö", "Sweden", "211 20", 55.60, 13.00),
    ("Kraków", "Poland", "30-001", 50.06, 19.94), ("Praha", "Czechia", "110 00", 50.08, 14.44),
    ("Milano", "Italy", "20121", 45.46, 9.19), ("Madrid", "Spain", "28001", 40.42, -3.70),
    ("Lisboa", "Portugal", "1100", 38.72, -9.14), ("Dublin", "Ireland", "D01", 53.35, -6.26),
)  # fmt: skip
STREETS = ("Hafenstraße", "Station Road", "Rue de la Gare", "Bahnhofstrasse", "Via Roma", "Kerkstraat", "Market Square")
COMPANY_STEMS = (
    "Adventure", "Alpine", "Blue Yonder", "City Power", "Coho", "Contoso", "Fabrikam", "Fourth Coffee", "Graphic",
    "Humongous", "Litware", "Lucerne", "Margie's", "Northwind", "Proseware", "Relecloud", "School of Fine Art",
    "Southridge", "Tailspin", "Trey", "VanArsdel", "Wide World", "Wingtip", "Woodgrove",
)  # fmt: skip
COMPANY_TRADES = (
    "Works", "Traders", "Research", "Energy", "Logistics", "Pharma", "Foods", "Textiles", "Motors", "Systems",
    "Publishing", "Clinics", "Optics", "Farms", "Hotels", "Engineering",
)  # fmt: skip
COMPANY_FORMS = ("GmbH", "AG", "Ltd.", "S.A.", "B.V.", "A/S", "s.r.o.", "Inc.")
JOB_TITLES = (
    "Purchasing Manager", "Owner", "Plant Manager", "Facility Manager", "Technician", "Head of Operations",
    "Sales Assistant", "Accountant", "IT Lead", "Site Supervisor", None,
)  # fmt: skip
CASE_SUBJECTS = (
    "does not start",
    "leaks after maintenance",
    "reports error 17",
    "delivered with a scratch",
    "is louder than usual",
    "needs a spare part",
    "lost its configuration",
    "stops under load",
    "was invoiced twice",
    "has a broken display",
)
TASK_SUBJECTS = (
    "Call back about the offer", "Replace the filter", "Inspect the installation", "Send the quotation",
    "Check the warranty", "Arrange a visit", "Follow up on the complaint", "Update the contact details",
    "Order spare parts", "Prepare the yearly service",
)  # fmt: skip
PRODUCT_STEMS = (
    "Pump", "Compressor", "Valve", "Filter", "Sensor", "Gearbox", "Motor", "Controller", "Heat Exchanger", "Display",
    "Cable", "Bearing",
)  # fmt: skip
PRODUCT_SERIES = ("A", "B", "C", "Eco", "Max", "Pro", "Mini", "XT")
NOTES = (
    None, None, None, None, None, None, "Prefers to be called in the morning.",
    "Key customer since 2011.\nAsk for the site manager first.", 'Said "not before spring".',
    "Lieferung nur über Tor 3 – bitte klingeln.",
)  # fmt: skip
REGIONS = ("North", "South", "East", "West")
DISTRICTS = ("Cities", "Country")
