"""No file is tied to itself through others: what one needs can be read before it."""

from graphlib import TopologicalSorter

import grimp


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph("modemctl", "drivers", "api", "simulator")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # A circle is raised as a CycleError that names its files.
    assert set(TopologicalSorter(imports).static_order()) == graph.modules
