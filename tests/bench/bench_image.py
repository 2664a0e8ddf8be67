#!/usr/bin/env python3
"""A 12-megapixel JPEG to a 1024-pixel WebP (quality 80, effort 4): the image helper against npm sharp.

usage: bench_image.py [--build DIR] [--rounds N] [--sharp DIR]

Both stay running and do one picture at a time in turns; the order changes with each round.  Ours
includes what keeps the product safe: a fork, a jail and two messages per picture.  sharp runs with
its defaults.  Prints the median of each and the ratio of the medians (goal: 1.0 or less).
DIR of --sharp holds a node_modules with sharp; without it sharp is installed into a temporary
folder.  Without npm the benchmark says so and skips (status 77).
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

NODE = """
const sharp = require('sharp');
const fs = require('fs');
const input = fs.readFileSync(process.argv[2]);
const side = parseInt(process.argv[3]), quality = parseInt(process.argv[4]);
sharp.cache(false);
require('readline').createInterface({ input: process.stdin }).on('line', async () => {
  const begin = process.hrtime.bigint();
  const { data, info } = await sharp(input).rotate()
    .resize({ width: side, height: side, fit: 'inside' })
    .webp({ quality, effort: 4 }).toBuffer({ resolveWithObject: true });
  const ms = Number(process.hrtime.bigint() - begin) / 1e6;
  console.log(`${ms.toFixed(2)} ${info.width}x${info.height} ${data.length}`);
});
"""


class Contender:
    """A process that does one picture for each line that it is sent."""

    def __init__(self, name, command):
        self.name = name
        self.times = []
        self.told = ''
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def go(self, count=True):
        self.process.stdin.write('go\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 3:
            sys.exit(f'{self.name} does not answer')
        self.told = f'{answer[1]}, {answer[2]} bytes'
        if count:
            self.times.append(float(answer[0]))

    def stop(self):
        self.process.stdin.close()
        self.process.wait()

    def line(self):
        return (f'{self.name:16} {min(self.times):7.1f} {statistics.median(self.times):7.1f} '
                f'{max(self.times):7.1f}   {self.told}')


def install_sharp(folder):
    done = subprocess.run(['npm', 'install', '--prefix', folder, '--no-audit', '--no-fund',
                           '--loglevel=error', 'sharp'], stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit('npm could not install sharp')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', default='.')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--sharp')
    args = parser.parse_args()
    if not shutil.which('npm') or not shutil.which('node'):
        print('SKIP: npm is not installed')
        return 77
    build = os.path.abspath(args.build)
    encode = [os.path.join(build, 'tests/bench/image_encode'), os.path.join(build, 'pixshift-helper')]
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, 'in.jpg')
        subprocess.run(encode + ['draw', os.path.join(build, '.libs/ai_local.so'), image], check=True)
        sharp = args.sharp or folder
        if not args.sharp:
            install_sharp(folder)
        script = os.path.join(folder, 'sharp.js')
        with open(script, 'w', encoding='utf-8') as f:
            f.write(NODE)
        os.environ['NODE_PATH'] = os.path.join(sharp, 'node_modules')
        ours = Contender('pixshift-helper', encode + ['encode', image, '1024', '80'])
        theirs = Contender('sharp', ['node', script, image, '1024', '80'])
        for both in (ours, theirs) * 2:
            both.go(count=False)
        for i in range(args.rounds):
            for one in (ours, theirs) if i % 2 else (theirs, ours):
                one.go()
        ours.stop()
        theirs.stop()
    ratio = statistics.median(ours.times) / statistics.median(theirs.times)
    print(f'12 MP JPEG -> 1024 px WebP, {args.rounds} rounds, ms min / median / max')
    print(ours.line())
    print(theirs.line())
    print(f'ratio of medians {ratio:.2f} (goal <= 1.00)')
    return 0


if __name__ == '__main__':
    sys.exit(main())
