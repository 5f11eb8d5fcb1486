"""``hmhsa-insert plan MODEL --recipe R``: what would be inserted where, at what cost; nothing is built."""

from __future__ import annotations

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    DrawOption,
    JsonOption,
    ModelArgument,
    RecipeOption,
    SizeOption,
)


def plan(
    model: ModelArgument,
    recipe: RecipeOption,
    input_size: SizeOption = None,
    inputs: InputOption = None,
    fixed_batch: BatchOption = None,
    allow_code: AllowCodeOption = False,
    draw: DrawOption = None,
    json: JsonOption = False,
) -> None:
    """Resolve a recipe against a network: the sites, the new keys, the cost, or every reason why not."""
    from hmhsa_insert.blocks.in_recipe import read_recipe
    from hmhsa_insert.commands.console import out, print_json
    from hmhsa_insert.commands.printed import print_table, print_tables, write_drawing
    from hmhsa_insert.commands.tables import cost_table, headline
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.surgery.apply import apply_plan
    from hmhsa_insert.surgery.artifact.artifact import open_model
    from hmhsa_insert.surgery.locate.stages import locate
    from hmhsa_insert.surgery.plan import plan_located

    read, problems = read_recipe(recipe)  # before a network is built or downloaded for it
    loaded = open_model(model, allow_code=allow_code, meta=True)
    located = locate(loaded.model, described(loaded, input_size, inputs, fixed_batch))
    made = plan_located(loaded.model, located, read, problems)
    if draw is not None:
        write_drawing(draw, loaded, plan=made)
    if json:
        print_json(made.to_dict())
        return
    out.print(headline(loaded, made.inputs))
    before = count(loaded.model, made.inputs).per_sample
    after = count(apply_plan(loaded.model, made), made.inputs).per_sample
    print_tables(made)
    print_table(cost_table(before, after))
