"""A small training by the Trainer of transformers that logs the rate of every part."""

from optim.two_processes import RATES, STEPS, Rows, Toy, schedules
from transformers import Trainer, TrainerCallback, TrainingArguments

from askew.optim import AsymmetricOptimizer, AsymmetricScheduler, part_rates


class Watch(TrainerCallback):
    """The rates of every step, as the optimizer sees them."""

    def __init__(self, optimizer, stop=None):
        self.optimizer, self.rates, self.stop = optimizer, [], stop

    def on_pre_optimizer_step(self, args, state, control, **_):
        self.rates.append(part_rates(self.optimizer))

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.stop


class LoggedTrainer(Trainer):
    """The rate of every part in each record."""

    def log(self, logs, start_time=None):
        logs |= {f"lr/{part}": rate for part, rate in self.watch.rates[-1].items()}
        super().log(logs, start_time)


def by_trainer(out, world=1, stop=None, resume=None, parts=RATES):
    model = Toy()
    optimizer = AsymmetricOptimizer(model, parts, no_decay="**.bias")
    scheduler = AsymmetricScheduler(optimizer, schedules())
    arguments = TrainingArguments(
        str(out), max_steps=STEPS, per_device_train_batch_size=8 // world, save_steps=3,
        logging_steps=1, report_to="none", use_cpu=True, disable_tqdm=True, seed=0,
        dataloader_pin_memory=False,
    )  # fmt: skip
    watch = Watch(optimizer, stop)
    trainer = LoggedTrainer(
        model, arguments, train_dataset=Rows(), optimizers=(optimizer, scheduler),
        callbacks=[watch],
    )  # fmt: skip
    trainer.watch = watch
    trainer.train(resume_from_checkpoint=resume)
    logged = [record for record in trainer.state.log_history if "loss" in record]
    return model, watch.rates, logged
