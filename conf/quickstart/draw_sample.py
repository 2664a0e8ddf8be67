#!/usr/bin/env python3
"""Draws a sample picture (a sunset over hills and a lake, 1200 x 800 PNG) with the standard library
only, for `./quickstart` without an image of one's own.  Usage: draw_sample.py FILE"""
import math
import struct
import sys
import zlib

WIDTH, HEIGHT = 1200, 800
HORIZON = 470


def mix(a, b, t):
    """The colour between a and b at t in 0..1."""
    t = min(1.0, max(0.0, t))
    return tuple(int(x + (y - x) * t) for x, y in zip(a, b))


def hill(x, layer):
    """Height of a hill line above the horizon, in pixels."""
    return (60 - 22 * layer) + 34 * math.sin(x / (97 + 61 * layer) + 1.7 * layer) \
        + 13 * math.sin(x / 31.0 + layer)


def sky(x, y):
    colour = mix((28, 44, 110), (250, 150, 84), y / HORIZON)
    distance = math.hypot(x - 820, y - 360)
    if distance < 62:
        return (255, 236, 170)
    return mix((255, 214, 130), colour, (distance - 62) / 210)


def pixel(x, y):
    if y >= HORIZON:                                    # the lake mirrors the sky with ripples
        depth = y - HORIZON
        ripple = math.sin(depth / 5.0 + math.sin(x / 41.0) * 2) * (4 + depth / 22)
        return mix(sky(x + ripple, max(0, HORIZON - depth * 1.35)), (14, 30, 66), 0.25 + depth / 600)
    for layer, colour in ((2, (30, 46, 58)), (1, (58, 60, 92)), (0, (98, 82, 124))):
        if HORIZON - y < hill(x, layer):
            return mix(colour, (250, 170, 110), 0.10 * (2 - layer))
    return sky(x, y)


def main():
    rows = bytearray()
    for y in range(HEIGHT):
        rows.append(0)
        for x in range(WIDTH):
            rows.extend(pixel(x, y))

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    with open(sys.argv[1], 'wb') as out:
        out.write(b'\x89PNG\r\n\x1a\n'
                  + chunk(b'IHDR', struct.pack('>IIBBBBB', WIDTH, HEIGHT, 8, 2, 0, 0, 0))
                  + chunk(b'IDAT', zlib.compress(bytes(rows), 6)) + chunk(b'IEND', b''))


if __name__ == '__main__':
    main()
