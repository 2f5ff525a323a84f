"""Draw the example pictures: python examples/draw.py. Everything is drawn here with Pillow; nothing comes from a data set."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIDE = 384
PAGE_SIDE = 192
Color = tuple[int, int, int]


def sky(top: Color, bottom: Color) -> Image.Image:
    """A vertical gradient."""
    column = Image.new("RGB", (1, SIDE))
    for y in range(SIDE):
        share = y / (SIDE - 1)
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True))
        column.putpixel((0, y), (red, green, blue))
    return column.resize((SIDE, SIDE))


def grain(image: Image.Image, seed: int) -> Image.Image:
    """Soft edges and a little noise, as a camera gives."""
    image = image.filter(ImageFilter.GaussianBlur(2))
    noise = Image.frombytes("RGB", image.size, random.Random(seed).randbytes(3 * SIDE * SIDE)).filter(ImageFilter.GaussianBlur(2))
    return Image.blend(image, noise, 0.08)


def ship() -> Image.Image:
    image = sky((150, 190, 225), (215, 230, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 250, SIDE, SIDE], fill=(30, 75, 120))
    for y in range(262, SIDE, 16):
        draw.line([(0, y), (SIDE, y + 4)], fill=(45, 95, 145), width=4)
    draw.polygon([(30, 215), (358, 205), (325, 275), (70, 275)], fill=(35, 35, 45))
    draw.polygon([(70, 275), (325, 275), (318, 290), (78, 290)], fill=(150, 35, 30))
    draw.rectangle([85, 165, 290, 212], fill=(235, 235, 230))
    draw.rectangle([115, 130, 250, 166], fill=(225, 225, 220))
    draw.rectangle([150, 80, 180, 130], fill=(200, 60, 40))
    draw.rectangle([205, 90, 232, 130], fill=(200, 60, 40))
    for x in range(98, 280, 24):
        draw.rectangle([x, 180, x + 12, 192], fill=(60, 80, 100))
    return image


def airplane() -> Image.Image:
    image = sky((70, 130, 200), (175, 210, 240))
    draw = ImageDraw.Draw(image)
    draw.polygon([(150, 195), (245, 195), (130, 330), (95, 330)], fill=(165, 170, 180))
    draw.polygon([(165, 185), (235, 185), (190, 90), (160, 90)], fill=(185, 190, 200))
    draw.polygon([(40, 178), (85, 180), (60, 100), (25, 100)], fill=(190, 60, 50))
    draw.polygon([(45, 190), (95, 192), (50, 228), (25, 228)], fill=(165, 170, 180))
    draw.ellipse([40, 165, 360, 220], fill=(238, 240, 244))
    draw.polygon([(25, 178), (110, 166), (110, 214)], fill=(238, 240, 244))
    for x in range(110, 310, 16):
        draw.ellipse([x, 183, x + 7, 191], fill=(60, 80, 110))
    draw.polygon([(325, 178), (350, 186), (320, 190)], fill=(40, 55, 80))
    draw.rounded_rectangle([165, 245, 205, 265], 8, fill=(120, 125, 135))
    return image


def automobile() -> Image.Image:
    image = sky((190, 205, 215), (225, 225, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 150, SIDE, 235], fill=(95, 125, 85))
    draw.rectangle([0, 230, SIDE, SIDE], fill=(105, 105, 108))
    draw.ellipse([30, 275, 355, 315], fill=(60, 60, 62))
    draw.polygon([(95, 195), (140, 130), (255, 130), (310, 195)], fill=(185, 25, 30))
    draw.polygon([(112, 193), (147, 142), (193, 142), (193, 193)], fill=(70, 90, 105))
    draw.polygon([(203, 193), (203, 142), (248, 142), (291, 193)], fill=(70, 90, 105))
    draw.rounded_rectangle([25, 190, 362, 275], 28, fill=(200, 30, 35))
    draw.rectangle([30, 240, 358, 262], fill=(165, 20, 25))
    for x in (100, 290):
        draw.ellipse([x - 38, 232, x + 38, 308], fill=(25, 25, 28))
        draw.ellipse([x - 19, 251, x + 19, 289], fill=(190, 190, 195))
    draw.ellipse([335, 205, 360, 228], fill=(250, 240, 190))
    draw.rectangle([25, 205, 38, 228], fill=(250, 120, 60))
    return image


def truck() -> Image.Image:
    image = sky((165, 195, 225), (220, 225, 225))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 275, SIDE, SIDE], fill=(110, 108, 105))
    draw.rectangle([20, 75, 260, 262], fill=(235, 235, 232))
    draw.rectangle([20, 170, 260, 190], fill=(40, 90, 160))
    draw.polygon([(268, 262), (268, 130), (325, 130), (355, 195), (368, 200), (368, 262)], fill=(40, 90, 160))
    draw.polygon([(282, 190), (282, 145), (318, 145), (340, 190)], fill=(150, 180, 200))
    draw.rectangle([15, 258, 370, 278], fill=(45, 45, 50))
    for x in (75, 140, 315):
        draw.ellipse([x - 32, 252, x + 32, 316], fill=(25, 25, 28))
        draw.ellipse([x - 14, 270, x + 14, 298], fill=(170, 170, 175))
    draw.rectangle([355, 232, 370, 246], fill=(250, 235, 160))
    return image


def frog() -> Image.Image:
    image = sky((95, 120, 60), (60, 85, 40))
    draw = ImageDraw.Draw(image)
    generator = random.Random(5)
    for _ in range(60):
        x, y = generator.randrange(SIDE), generator.randrange(SIDE)
        draw.ellipse([x, y, x + 60, y + 26], fill=(70 + generator.randrange(40), 95 + generator.randrange(30), 50))
    draw.ellipse([20, 190, 150, 330], fill=(75, 125, 40))
    draw.ellipse([235, 190, 365, 330], fill=(75, 125, 40))
    draw.ellipse([75, 130, 310, 335], fill=(95, 150, 50))
    draw.ellipse([95, 225, 290, 330], fill=(190, 200, 120))
    draw.ellipse([85, 95, 300, 240], fill=(105, 165, 55))
    for x in (125, 260):
        draw.ellipse([x - 36, 68, x + 36, 140], fill=(105, 165, 55))
        draw.ellipse([x - 25, 80, x + 25, 130], fill=(215, 180, 50))
        draw.ellipse([x - 14, 92, x + 14, 118], fill=(15, 15, 10))
    draw.arc([120, 130, 265, 215], 15, 165, fill=(50, 80, 25), width=7)
    for x in (60, 270):
        draw.ellipse([x, 315, x + 70, 350], fill=(105, 165, 55))
    return image


def cat() -> Image.Image:
    image = sky((150, 125, 105), (110, 90, 75))
    draw = ImageDraw.Draw(image)
    gray, dark, light = (135, 125, 115), (80, 72, 66), (190, 180, 168)
    draw.ellipse([70, 235, 315, 450], fill=gray)
    draw.polygon([(85, 175), (80, 40), (185, 110)], fill=gray)
    draw.polygon([(300, 175), (305, 40), (200, 110)], fill=gray)
    draw.polygon([(100, 140), (97, 72), (150, 110)], fill=(200, 150, 145))
    draw.polygon([(285, 140), (288, 72), (235, 110)], fill=(200, 150, 145))
    draw.ellipse([72, 85, 313, 305], fill=gray)
    draw.ellipse([125, 205, 260, 300], fill=light)
    for x in (150, 180, 205, 235):
        draw.line([(x, 95), (x + (x - 192) // 6, 145)], fill=dark, width=11)
    for y in (195, 220, 245):
        draw.line([(78, y), (118, y + 6)], fill=dark, width=9)
        draw.line([(307, y), (267, y + 6)], fill=dark, width=9)
    for x in (142, 243):
        draw.ellipse([x - 27, 165, x + 27, 212], fill=(190, 200, 90))
        draw.ellipse([x - 9, 166, x + 9, 211], fill=(15, 15, 12))
    draw.polygon([(176, 222), (209, 222), (192, 242)], fill=(195, 120, 120))
    draw.line([(192, 242), (192, 258)], fill=dark, width=5)
    draw.arc([158, 240, 194, 272], 10, 150, fill=dark, width=5)
    draw.arc([191, 240, 227, 272], 30, 170, fill=dark, width=5)
    for y in (238, 252, 266):
        draw.line([(130, y), (55, y - 8 + (y - 252))], fill=(235, 230, 225), width=2)
        draw.line([(255, y), (330, y - 8 + (y - 252))], fill=(235, 230, 225), width=2)
    return image


def bird() -> Image.Image:
    image = sky((150, 200, 235), (225, 238, 240))
    draw = ImageDraw.Draw(image)
    draw.line([(0, 318), (SIDE, 296)], fill=(105, 78, 55), width=22)
    draw.line([(250, 304), (330, 255)], fill=(105, 78, 55), width=9)
    draw.ellipse([305, 235, 350, 265], fill=(95, 140, 70))
    draw.polygon([(130, 235), (15, 285), (25, 305), (150, 275)], fill=(70, 62, 58))
    draw.ellipse([95, 130, 275, 290], fill=(125, 98, 78))
    draw.ellipse([165, 150, 282, 285], fill=(215, 110, 60))
    draw.ellipse([190, 70, 300, 180], fill=(125, 98, 78))
    draw.pieslice([212, 88, 302, 200], 330, 120, fill=(215, 110, 60))
    draw.polygon([(294, 112), (342, 128), (292, 142)], fill=(225, 170, 60))
    draw.ellipse([250, 98, 278, 126], fill=(20, 18, 16))
    draw.ellipse([256, 102, 265, 111], fill=(250, 250, 250))
    draw.polygon([(110, 170), (215, 165), (190, 235), (70, 268)], fill=(82, 66, 54))
    draw.line([(110, 245), (195, 205)], fill=(150, 125, 105), width=6)
    draw.line([(95, 225), (190, 185)], fill=(150, 125, 105), width=6)
    for x in (180, 215):
        draw.line([(x, 282), (x + 6, 312)], fill=(90, 60, 45), width=7)
    return image


def deer() -> Image.Image:
    image = sky((120, 150, 105), (85, 115, 70))
    draw = ImageDraw.Draw(image)
    for x in (20, 95, 330):
        draw.rectangle([x, 0, x + 26, 250], fill=(72, 84, 58))
    draw.rectangle([0, 265, SIDE, SIDE], fill=(110, 130, 65))
    coat, dark, pale = (170, 115, 70), (120, 78, 48), (225, 205, 180)
    for x, fill in ((105, dark), (145, coat), (235, dark), (262, coat)):
        draw.polygon([(x, 220), (x + 24, 220), (x + 17, 350), (x + 5, 350)], fill=fill)
        draw.rectangle([x + 4, 344, x + 18, 358], fill=(45, 35, 30))
    draw.ellipse([85, 155, 295, 258], fill=coat)
    draw.ellipse([110, 225, 270, 262], fill=pale)
    draw.polygon([(235, 210), (292, 225), (322, 110), (282, 95)], fill=coat)
    draw.ellipse([262, 72, 335, 128], fill=coat)
    draw.polygon([(300, 82), (362, 112), (358, 130), (300, 126)], fill=coat)
    draw.ellipse([350, 108, 368, 124], fill=(30, 25, 22))
    draw.polygon([(275, 90), (236, 66), (262, 104)], fill=dark)
    draw.ellipse([302, 86, 316, 100], fill=(20, 15, 12))
    for points in ([(285, 78), (268, 40), (232, 12)], [(268, 40), (286, 10)], [(300, 76), (312, 38), (346, 10)], [(312, 38), (300, 8)]):
        draw.line(points, fill=(95, 70, 50), width=9, joint="curve")
    draw.ellipse([70, 170, 104, 212], fill=pale)
    for x, y in ((130, 178), (165, 170), (205, 172), (150, 198), (190, 196), (228, 192)):
        draw.ellipse([x, y, x + 12, y + 9], fill=pale)
    return image


def dog() -> Image.Image:
    image = sky((140, 175, 130), (110, 150, 95))
    draw = ImageDraw.Draw(image)
    coat, dark, white = (190, 135, 75), (105, 65, 35), (240, 232, 222)
    draw.ellipse([75, 240, 310, 460], fill=coat)
    draw.ellipse([140, 265, 245, 460], fill=white)
    draw.ellipse([85, 60, 300, 285], fill=coat)
    draw.polygon([(177, 64), (208, 64), (214, 190), (171, 190)], fill=white)
    draw.ellipse([128, 165, 257, 300], fill=white)
    draw.ellipse([45, 75, 120, 250], fill=dark)
    draw.ellipse([265, 75, 340, 250], fill=dark)
    for x in (145, 240):
        draw.ellipse([x - 20, 140, x + 20, 180], fill=(250, 248, 245))
        draw.ellipse([x - 15, 143, x + 15, 178], fill=(50, 30, 18))
        draw.ellipse([x - 2, 148, x + 8, 158], fill=(250, 250, 250))
    draw.ellipse([162, 192, 223, 236], fill=(25, 22, 22))
    draw.line([(192, 236), (192, 258)], fill=(70, 50, 45), width=6)
    draw.arc([148, 226, 194, 270], 20, 160, fill=(70, 50, 45), width=6)
    draw.arc([191, 226, 237, 270], 20, 160, fill=(70, 50, 45), width=6)
    draw.ellipse([176, 264, 210, 312], fill=(225, 110, 115))
    draw.rectangle([120, 312, 265, 332], fill=(185, 45, 45))
    return image


def horse() -> Image.Image:
    image = sky((165, 200, 225), (205, 220, 215))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 250, SIDE, SIDE], fill=(120, 150, 75))
    for y in (195, 222):
        draw.rectangle([0, y, SIDE, y + 9], fill=(225, 222, 212))
    coat, dark, mane = (120, 68, 38), (88, 48, 26), (35, 24, 20)
    draw.polygon([(82, 160), (40, 190), (30, 285), (52, 280), (72, 215)], fill=mane)
    for x, fill in ((92, dark), (125, coat), (225, dark), (255, coat)):
        draw.polygon([(x, 215), (x + 34, 215), (x + 24, 345), (x + 8, 345)], fill=fill)
        draw.rectangle([x + 6, 335, x + 27, 355], fill=(35, 28, 25))
    draw.ellipse([68, 138, 298, 250], fill=coat)
    draw.polygon([(218, 195), (296, 205), (330, 78), (275, 62)], fill=coat)
    draw.polygon([(285, 52), (330, 60), (372, 128), (352, 150), (320, 128), (282, 112)], fill=coat)
    draw.polygon([(288, 62), (292, 28), (310, 56)], fill=coat)
    draw.polygon([(290, 40), (262, 60), (205, 165), (228, 178), (285, 100), (302, 60)], fill=mane)
    draw.ellipse([318, 76, 331, 89], fill=(15, 12, 10))
    draw.ellipse([354, 126, 362, 134], fill=(20, 15, 12))
    draw.line([(340, 80), (362, 120)], fill=(235, 228, 220), width=7)
    return image


def teapot() -> Image.Image:
    """Of none of the ten classes."""
    image = sky((240, 225, 205), (225, 205, 180))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 290, SIDE, SIDE], fill=(150, 100, 60))
    draw.arc([245, 135, 355, 260], 240, 120, fill=(30, 110, 120), width=20)
    draw.polygon([(110, 240), (20, 150), (45, 140), (130, 190)], fill=(30, 110, 120))
    draw.ellipse([85, 120, 305, 310], fill=(40, 130, 140))
    draw.ellipse([135, 105, 255, 150], fill=(30, 110, 120))
    draw.ellipse([180, 80, 212, 112], fill=(240, 200, 80))
    draw.ellipse([120, 150, 170, 230], fill=(90, 175, 180))
    return image


# New ones go to the end: a picture's place seeds its grain.
PICTURES: dict[str, Callable[[], Image.Image]] = {
    "airplane": airplane,
    "automobile": automobile,
    "cat": cat,
    "frog": frog,
    "ship": ship,
    "teapot": teapot,
    "truck": truck,
    "bird": bird,
    "deer": deer,
    "dog": dog,
    "horse": horse,
}
OF_NO_CLASS = ("teapot",)


def write_page_copies(pictures: dict[str, Image.Image], folder: Path) -> None:
    """The small copies that the web page shows, and the list of them: what each shows, None for a thing of no class."""
    listed = []
    for name in sorted(pictures, key=lambda name: (name in OF_NO_CLASS, name)):
        pictures[name].resize((PAGE_SIDE, PAGE_SIDE), Image.Resampling.LANCZOS).save(folder / f"{name}.webp", quality=70, method=6)
        listed.append({"name": name, "label": None if name in OF_NO_CLASS else name, "file": f"{name}.webp"})
    (folder / "index.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    folder = Path(__file__).parent
    pictures = {name: grain(picture(), seed) for seed, (name, picture) in enumerate(PICTURES.items())}
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png", optimize=True)
    write_page_copies(pictures, folder.parent / "src" / "cifarlab" / "serve" / "page" / "examples")


if __name__ == "__main__":
    main()
