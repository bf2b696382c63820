"""Recordings as numbers."""

import wave
from math import gcd
from pathlib import Path

import numpy as np

from askew._files import in_short

_FORMATS = {1: (np.uint8, 128, 128), 2: (np.int16, 0, 2**15), 4: (np.int32, 0, 2**31)}
"""By bytes of a sample: how it is stored, the number of silence, and that of full loudness."""


def read_wav(path: Path, rate: int) -> np.ndarray:
    """Read a recording as one channel of numbers in [-1, 1] at a rate.

    Files of the format WAV with whole numbers are read by the standard library, all others by
    soundfile.

    Args:
        path: The file.
        rate: Samples a second; a recording of another rate is resampled.

    Returns:
        Samples [length], single precision; the channels are averaged.

    Raises:
        ValueError: If the file cannot be read, or needs soundfile, which is not installed.
    """
    sound, own = _read(path)
    if own != rate:
        from scipy.signal import resample_poly

        shared = gcd(own, rate)
        sound = resample_poly(sound, rate // shared, own // shared)
    return np.ascontiguousarray(sound, dtype=np.float32)


def _read(path: Path) -> tuple[np.ndarray, int]:
    try:
        with wave.open(str(path)) as file:
            kind = _FORMATS.get(file.getsampwidth())
            if kind is not None:
                stored, silence, loudest = kind
                raw = np.frombuffer(file.readframes(file.getnframes()), stored)
                sound = (raw.astype(np.float32) - silence) / loudest
                return sound.reshape(-1, file.getnchannels()).mean(1), file.getframerate()
    except (wave.Error, EOFError):
        pass
    except OSError as error:
        raise ValueError(f"read_wav: a recording must be readable; got {path}: {error}") from None
    try:
        import soundfile  # pyrefly: ignore[missing-import]  no dependency
    except ModuleNotFoundError:
        raise ValueError(
            f"read_wav: a recording must be WAV with whole numbers; got {path}. Run pip install "
            "soundfile to read others"
        ) from None
    try:
        sound, own = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"read_wav: a recording must be readable; got {path}: {in_short(error)}"
        ) from None
    return sound.mean(1), own
