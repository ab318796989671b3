"""A PDF of pages of text: `media_make.py pdf <file> <pages>`."""
import random, sys
from fpdf import FPDF

_, _, path, pages = sys.argv
random.seed(7)
words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 10))) for _ in range(3000)]
document = FPDF()
document.set_font("Helvetica", size=10)
for number in range(int(pages)):
    document.add_page()
    document.set_font("Helvetica", "B", 14)
    document.cell(text=f"Chapter {number + 1}", new_x="LMARGIN", new_y="NEXT")
    document.set_font("Helvetica", size=10)
    for _ in range(7):
        document.multi_cell(0, 5, " ".join(random.choices(words, k=70)) + ".", new_x="LMARGIN", new_y="NEXT")
        document.ln(3)
document.output(path)
