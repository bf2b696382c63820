"""A question encoder of some layers of a large one, which learns to come near all of them."""

from pathlib import Path

from safetensors.torch import save_file
from tokenizers import Tokenizer

from askew._check import require
from askew._folders import whole_model
from askew.models._encoders import PretrainedEncoder, read_encoder_config
from askew.models._passage_encoder import EncodedQuestion, PassageEncoder
from askew.models._question_folder import read_question_encoder, write_question_encoder
from askew.models._shrink import Keep, kept_layers
from askew.text import load_any_tokenizer

_MANIFEST = "student.json"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class StudentEncoder:
    """Encodes questions with fewer layers than the encoder of the documents has.

    It takes the place of `PassageEncoder.question` in a `FusedSearch`. `cut` takes the layers, and
    `askew.training.distil_questions` teaches them. With all layers it is the encoder itself.

    Args:
        encoder: With its weights.
        tokenizer: Of the encoder.
        fingerprint: Of the encoder that encodes the documents.

    Attributes:
        reader: Encodes questions; its `fingerprint` is that of the encoder of the documents.

    Raises:
        ValueError: If the encoder has too few tokens for the tokenizer, or reads no plain text.

    Example:
        >>> from transformers import BertConfig
        >>> from askew.text import train_tokenizer
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3}
        >>> config = BertConfig(vocab_size=300, intermediate_size=8, **small)
        >>> tokenizer = train_tokenizer(["Anna lives in Rome."], vocab_size=300)
        >>> teacher = PassageEncoder(PretrainedEncoder(config), tokenizer, fingerprint="0" * 64)
        >>> StudentEncoder.cut(teacher, 1).question("Rome").vector.shape
        torch.Size([8])
    """

    def __init__(
        self, encoder: PretrainedEncoder, tokenizer: Tokenizer, *, fingerprint: str
    ) -> None:
        self.reader = PassageEncoder(encoder, tokenizer, fingerprint=fingerprint)

    @classmethod
    def cut(cls, teacher: PassageEncoder, layers: int, *, keep: Keep = "first") -> "StudentEncoder":
        """Take layers of an encoder, with copies of their weights.

        Args:
            teacher: The encoder of the documents.
            layers: How many.
            keep: Which: "first", "last", "spread" (the first, the last, and evenly between; of
                one, the first), or their numbers from 0.

        Returns:
            The student, which has learned nothing yet.

        Raises:
            ValueError: If there are fewer layers, or `keep` does not fit.
        """
        depth = teacher.encoder.encoder.config.num_hidden_layers
        require(
            1 <= layers <= depth,
            f"StudentEncoder.cut: layers must be in [1, {depth}], the layers of the encoder; "
            f"got layers {layers}",
        )
        kept = kept_layers(depth, layers, keep, side="encoder")
        encoder = teacher.encoder.keep(kept)
        return cls(encoder, teacher.tokenizer, fingerprint=teacher.fingerprint)

    @classmethod
    def load(cls, folder: str | Path, *, fingerprint: str | None = None) -> "StudentEncoder":
        """Open what `save` wrote.

        Args:
            folder: With a student.
            fingerprint: Of the encoder that the documents are encoded by; not compared by default.

        Returns:
            The encoder.

        Raises:
            ValueError: If a file is missing, altered or damaged, or it is of another encoder.
        """
        folder = Path(folder)
        manifest = read_question_encoder(
            "StudentEncoder.load", folder, _MANIFEST, _FILES, fingerprint
        )
        with whole_model("StudentEncoder.load", folder):
            encoder = PretrainedEncoder(read_encoder_config(folder))
            encoder.read_weights(folder)
            return cls(
                encoder,
                load_any_tokenizer(folder / "tokenizer.json"),
                fingerprint=str(manifest["fingerprint"]),
            )

    def save(self, folder: str | Path) -> None:
        """Write a folder of transformers, and student.json, which names its files, last.

        Args:
            folder: Made if it does not exist; what `save` wrote there before is replaced.

        Raises:
            ValueError: If it cannot be written.
            RuntimeError: If another process writes into it.
        """
        model, tokenizer = self.reader.encoder.encoder, self.reader.tokenizer
        weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
        write_question_encoder(
            "StudentEncoder.save",
            Path(folder),
            _MANIFEST,
            {
                "config.json": lambda path: model.config.to_json_file(path, use_diff=False),
                "model.safetensors": lambda path: save_file(weights, path, {"format": "pt"}),
                "tokenizer.json": lambda path: path.write_text(
                    tokenizer.to_str(), encoding="utf-8", newline=""
                ),
            },
            {"fingerprint": self.fingerprint},
        )

    @property
    def fingerprint(self) -> str:
        """Identifies the encoder of the documents."""
        return self.reader.fingerprint

    def question(self, text: str) -> EncodedQuestion:
        """Encode a question.

        Args:
            text: Any text; what is beyond 256 tokens, or the positions of the encoder, is not read.

        Returns:
            Its states and vector; of a blank text no state, and a vector of zeros.

        Raises:
            ValueError: If it has lone surrogates.
        """
        return self.reader.question(text)
