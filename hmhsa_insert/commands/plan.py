"""``hmhsa-insert plan MODEL --recipe R``: what would be inserted where, at what cost; nothing is built."""

from __future__ import annotations

from typing import Any

from hmhsa_insert.commands.options import (
    AllowCodeOption,
    BaseOption,
    JsonOption,
    ModelArgument,
    PluginOption,
    RecipeOption,
    SizeOption,
    load_plugins,
    parse_size,
    refuse_unusable,
)


def plan(
    model: ModelArgument,
    recipe: RecipeOption,
    input_size: SizeOption = None,
    base: BaseOption = None,
    allow_code: AllowCodeOption = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Resolve a recipe against a network: the sites, the new keys, the cost, or every reason why not."""
    from hmhsa_insert.commands.console import out, print_json
    from hmhsa_insert.commands.tables import cost_table, headline, plan_table
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.surgery.apply import apply_plan
    from hmhsa_insert.surgery.artifact import open_model
    from hmhsa_insert.surgery.inputs import sizes_of
    from hmhsa_insert.surgery.plan import plan as make_plan

    load_plugins(plugin)
    refuse_unusable(recipe)
    loaded = open_model(model, base=base, allow_code=allow_code, meta=True)
    made = make_plan(loaded.model, recipe, parse_size(input_size, loaded.input_size))
    if json:
        print_json(made.to_dict())
        return
    size: Any = sizes_of(made.input_size)[0]
    out.print(headline(loaded, made.input_size))
    before = count(loaded.model, size)
    after = count(apply_plan(loaded.model, made), size)
    out.print(plan_table(made))
    out.print(cost_table(before, after))
