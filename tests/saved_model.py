"""A small translation model on disk, with weights so loud that nothing it says is flat."""

import torch

from askew.models import AsymmetricTranslationConfig, AsymmetricTranslationModel
from askew.text import ParallelText, save_tokenizers, train_tokenizers
from askew.transformer import EncoderDecoderConfig, StackConfig

PAIRS = ParallelText(["three trees see bees"] * 4, ["três árvores veem abelhas"] * 4)
TOKENIZERS = train_tokenizers(PAIRS, vocab_size=280)
VOCAB = TOKENIZERS.source.get_vocab_size()
ENCODER = StackConfig(d_model=24, num_layers=3, num_heads=3, d_ff=40)
DECODER = StackConfig(d_model=16, num_layers=2, num_heads=4, d_ff=28)
CONFIG = EncoderDecoderConfig(
    source_vocab=VOCAB, target_vocab=VOCAB, encoder=ENCODER, decoder=DECODER
)


def saved(folder, config=CONFIG, tokenizers=TOKENIZERS):
    torch.manual_seed(0)
    model = AsymmetricTranslationModel(AsymmetricTranslationConfig.from_plain(config)).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:  # loud enough that nothing is flat
            torch.nn.init.normal_(parameter, std=1.5 * parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    save_tokenizers(tokenizers, folder)
    return model


def sentences(count, longest=12):
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, longest, (count,), generator=generator).tolist()
    return [torch.randint(3, VOCAB, (n,), generator=generator).tolist() for n in lengths]
