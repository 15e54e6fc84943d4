"""CamVid as Cambridge distributes it: 701 pictures of 720x960, labels coloured by 32 classes.

The grouping to 11 classes is the one published by MathWorks after the original SegNet training.
"""

from pathlib import Path

from bench.data.label_coding import LabelCoding
from bench.data.pairs import Pair, file_pair

VOID = 11
LABEL_ENDING = "_L"  # X.png is labelled by X_L.png

# Colours of the 32 classes (label_colors.txt of the distribution), by the class they become.
GROUPS: dict[int, dict[str, tuple[int, int, int]]] = {
    0: {"Sky": (128, 128, 128)},
    1: {
        "Building": (128, 0, 0),
        "Wall": (64, 192, 0),
        "Bridge": (0, 128, 64),
        "Tunnel": (64, 0, 64),
        "Archway": (192, 0, 128),
    },
    2: {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    3: {
        "Road": (128, 64, 128),
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
    },
    4: {
        "Sidewalk": (0, 0, 192),
        "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192),
    },
    5: {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    6: {
        "SignSymbol": (192, 128, 128),
        "Misc_Text": (128, 128, 64),
        "TrafficLight": (0, 64, 64),
    },
    7: {"Fence": (64, 64, 128)},
    8: {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    9: {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    10: {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
    VOID: {"Void": (0, 0, 0)},
}

CODING = LabelCoding(
    values={value: value for value in range(256)},  # indices pass; the split checks their range
    colours={colour: index for index, group in GROUPS.items() for colour in group.values()},
    void=VOID,
)


def find(root: Path) -> dict[str, tuple[Path, Path]]:
    """Returns picture and label of every X.png with an X_L.png anywhere under root, by X.

    Raises:
        ValueError: a name occurs twice.
    """
    files = [path for path in sorted(root.rglob("*.png")) if not path.name.startswith(".")]
    labels = {path.stem for path in files if path.stem.endswith(LABEL_ENDING)}
    wanted = labels | {name.removesuffix(LABEL_ENDING) for name in labels}
    pictures: dict[str, Path] = {}
    for path in files if labels else ():
        if path.stem in pictures and path.stem in wanted:
            raise ValueError(f"{path} and {pictures[path.stem]} share one name; remove one of them")
        pictures[path.stem] = path
    return {
        name: (pictures[name], pictures[name + LABEL_ENDING])
        for name in wanted - labels
        if name in pictures
    }


def pairs(files: dict[str, tuple[Path, Path]], names: list[str], root: str) -> list[Pair]:
    """Returns the pairs of the given names.

    Raises:
        ValueError: one of them is not there.
    """
    missing = [name for name in names if name not in files]
    if missing:
        raise ValueError(
            f"{root}: {len(missing)} of the {len(names)} images of this split have no picture "
            f"with a label ({missing[0]}.png, {missing[0]}{LABEL_ENDING}.png); complete the folder"
        )
    return [file_pair(*files[name], CODING.read) for name in names]
