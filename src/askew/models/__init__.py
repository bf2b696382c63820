"""Models of the applications, in the form of transformers."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from askew._ctranslate2_engine import CTranslate2Engine
from askew._decoding import DecodingConfig, Engine, TokenHypothesis
from askew._translator import Hypothesis, Translator, add_engine, as_engine
from askew.models._answerer import QuestionAnswerer
from askew.models._answers import Answer
from askew.models._attention_map import AttentionMap, attention_map, write_attention_page
from askew.models._build_on_meta import build_on_meta
from askew.models._checkpoint import Reading, load_checkpoint, read_attention
from askew.models._configuration import AsymmetricTranslationConfig
from askew.models._context_index import ContextIndex
from askew.models._encoders import PretrainedEncoder, encoder_folder, read_encoder_config
from askew.models._folder import (
    load_label_model,
    load_qa_model,
    load_translation_model,
    model_fingerprint,
    write_checksums,
)
from askew.models._fused_search import FusedSearch, Proposed
from askew.models._kinds import MODEL_KINDS, ModelKind, model_kind
from askew.models._label_configuration import AsymmetricLabelConfig, LabelModelConfig
from askew.models._label_model import AsymmetricLabelModel
from askew.models._labeller import Labelled, TextLabeller
from askew.models._passage_encoder import EncodedQuestion, PassageEncoder, max_sim
from askew.models._qa import AsymmetricQAModel, Encoded, QAOutput
from askew.models._qa_configuration import AsymmetricQAConfig, QAConfig
from askew.models._qa_cost import (
    QAParameterCount,
    qa_parameter_count,
    qa_question_flops,
    qa_training_flops,
)
from askew.models._seq2seq import Seq2Seq, load_seq2seq
from askew.models._shrink import Keep, Removal, choose_layers, kept_layers, shrink
from askew.models._span_teacher import PairScores, SpanTeacher
from askew.models._static_encoder import StaticEncoder
from askew.models._student_encoder import StudentEncoder
from askew.models._torch_engine import TorchEngine
from askew.models._translation import AsymmetricTranslationModel
from askew.models._widths import check_widths

AutoConfig.register("askew-translation", AsymmetricTranslationConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(
    AsymmetricTranslationConfig, AsymmetricTranslationModel, exist_ok=True
)
AutoModel.register(AsymmetricTranslationConfig, AsymmetricTranslationModel, exist_ok=True)
AutoConfig.register("askew-qa", AsymmetricQAConfig, exist_ok=True)
AutoModelForQuestionAnswering.register(AsymmetricQAConfig, AsymmetricQAModel, exist_ok=True)
AutoModel.register(AsymmetricQAConfig, AsymmetricQAModel, exist_ok=True)
AutoConfig.register("askew-labels", AsymmetricLabelConfig, exist_ok=True)
AutoModelForSequenceClassification.register(
    AsymmetricLabelConfig, AsymmetricLabelModel, exist_ok=True
)
AutoModel.register(AsymmetricLabelConfig, AsymmetricLabelModel, exist_ok=True)

as_engine.register(AsymmetricTranslationModel, TorchEngine)
add_engine("torch", lambda folder, _: (load_translation_model(folder), folder))

__all__ = [
    "MODEL_KINDS",
    "Answer",
    "AsymmetricLabelConfig",
    "AsymmetricLabelModel",
    "AsymmetricQAConfig",
    "AsymmetricQAModel",
    "AsymmetricTranslationConfig",
    "AsymmetricTranslationModel",
    "AttentionMap",
    "CTranslate2Engine",
    "ContextIndex",
    "DecodingConfig",
    "Encoded",
    "EncodedQuestion",
    "Engine",
    "FusedSearch",
    "Hypothesis",
    "Keep",
    "LabelModelConfig",
    "Labelled",
    "ModelKind",
    "PairScores",
    "PassageEncoder",
    "PretrainedEncoder",
    "Proposed",
    "QAConfig",
    "QAOutput",
    "QAParameterCount",
    "QuestionAnswerer",
    "Reading",
    "Removal",
    "Seq2Seq",
    "SpanTeacher",
    "StaticEncoder",
    "StudentEncoder",
    "TextLabeller",
    "TokenHypothesis",
    "TorchEngine",
    "Translator",
    "attention_map",
    "build_on_meta",
    "check_widths",
    "choose_layers",
    "encoder_folder",
    "kept_layers",
    "load_checkpoint",
    "load_label_model",
    "load_qa_model",
    "load_seq2seq",
    "load_translation_model",
    "max_sim",
    "model_fingerprint",
    "model_kind",
    "qa_parameter_count",
    "qa_question_flops",
    "qa_training_flops",
    "read_attention",
    "read_encoder_config",
    "shrink",
    "write_attention_page",
    "write_checksums",
]
