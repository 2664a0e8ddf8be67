"""What the benchmarks share: interleaved rounds, medians, ratios, Node peers, wrk."""
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))


def interleaved(rounds, **sides):
    """Runs each side once per round, in alternating order; returns {name: [figures]}."""
    figures = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            figures[name].append(sides[name]())
    return figures


def spread(values):
    return f'{min(values):.4g} / {statistics.median(values):.4g} / {max(values):.4g}'


def report(title, figures, top, bottom, unit, goal, higher_is_better=True):
    """Prints min/median/max of both sides and the median of the per-round ratios top/bottom."""
    ratios = [a / b for a, b in zip(figures[top], figures[bottom])]
    ratio = statistics.median(ratios)
    reached = ratio >= goal if higher_is_better else ratio <= goal
    sign = '>=' if higher_is_better else '<='
    print(f'{title}')
    for name in figures:
        print(f'  {name:28s} {spread(figures[name])} {unit}   (min / median / max)')
    print(f'  ratio {top} / {bottom}: {ratio:.2f}  (rounds {min(ratios):.2f} to {max(ratios):.2f};'
          f' goal {sign} {goal}: {"reached" if reached else "NOT reached"})', flush=True)
    return ratio


def node_peer(folder, *packages):
    """A folder with the npm packages installed; None when npm is not there."""
    if not shutil.which('npm'):
        return None
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'package.json').write_text('{"private": true}')
    subprocess.run(['npm', 'install', '--silent', '--no-audit', '--no-fund', *packages], cwd=folder, check=True)
    return folder


def wrk(url, headers=None, seconds=3, connections=32, script=None):
    """Requests per second; raises when the server answered with errors."""
    command = ['wrk', '-t1', f'-c{connections}', f'-d{seconds}s']
    for name, value in (headers or {}).items():
        command += ['-H', f'{name}: {value}']
    if script:
        command += ['-s', str(script)]
    out = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    wrong = re.search(r'Non-2xx or 3xx responses: (\d+)', out)
    if wrong:
        raise RuntimeError(f'{url}: {wrong.group(0)}')
    return float(re.search(r'Requests/sec:\s+([\d.]+)', out).group(1))
