"""Builds plugins/template outside the tree from the installed SDK, as a third party would."""
import os
import pathlib
import shutil
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def build(folder, prefix):
    """Returns the path of ai_example.so, built in `folder` with pkg-config from `prefix`."""
    copy = pathlib.Path(folder) / 'template'
    shutil.copytree(SOURCE / 'plugins/template', copy)
    env = {**os.environ, 'PKG_CONFIG_PATH': f'{prefix}/lib/pkgconfig'}
    env.pop('CFLAGS', None)
    subprocess.run(['make', '-s', '-C', str(copy)], env=env, check=True)
    return copy / 'ai_example.so'
