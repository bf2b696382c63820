import pytest
import torch
from optim.two_processes import Rows, Toy
from transformers import Trainer, TrainingArguments

from askew.optim import AsymmetricOptimizer, AsymmetricScheduler, constant, linear
from askew.training import LogsPartRates


class PartTrainer(LogsPartRates, Trainer):
    pass


def records(out, optimizers, model):
    arguments = TrainingArguments(
        str(out),
        max_steps=4,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = PartTrainer(model, arguments, train_dataset=Rows(), optimizers=optimizers)
    trainer.train()
    return [record for record in trainer.state.log_history if "loss" in record]


def test_every_record_holds_the_rate_its_step_was_made_with(tmp_path):
    model = Toy()
    optimizer = AsymmetricOptimizer(model, {"encoder": 0.1}, rest="other", lr=0.01)
    scheduler = AsymmetricScheduler(optimizer, {"encoder": linear(4), "other": constant()})
    logged = records(tmp_path, (optimizer, scheduler), model)
    assert [r["lr/encoder"] for r in logged] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [r["lr/other"] for r in logged] == pytest.approx([0.01] * 4)
    assert [r["lr/encoder"] for r in logged] == pytest.approx([r["learning_rate"] for r in logged])


def test_an_optimizer_without_parts_is_left_alone(tmp_path):
    model = Toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    logged = records(tmp_path, (optimizer, None), model)
    assert len(logged) == 4
    assert not [key for record in logged for key in record if key.startswith("lr/")]
