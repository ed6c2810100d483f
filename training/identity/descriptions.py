"""What a reader says of each contrast: the signal of fluid, grey matter, white matter, fat and lesions (D_j of M-11).

Several sentences a contrast, so that the text tower learns what they share and not one string. Signal behaviour after
McRobbie et al., MRI from Picture to Proton, chapters on contrast and on diffusion.
"""

from __future__ import annotations

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "T1": (
        "T1 weighted MR image without contrast agent: cerebrospinal fluid dark, grey matter grey, white matter "
        "bright, fat bright, lesions darker than white matter, vessels dark",
        "native T1: black ventricles, white matter brighter than cortex, bright scalp fat, hypointense lesion",
        "precontrast T1 weighted brain, dark fluid, bright white matter and fat, no enhancement",
    ),
    "T1C": (
        "T1 weighted MR image after gadolinium contrast agent: cerebrospinal fluid dark, grey matter grey, white "
        "matter bright, fat bright, vessels, choroid plexus and enhancing lesions very bright",
        "contrast enhanced T1: black ventricles, bright vessels and sinuses, enhancing rim of the lesion",
        "postcontrast T1 weighted brain, dark fluid, white matter brighter than cortex, bright enhancement",
    ),
    "T2": (
        "T2 weighted MR image: cerebrospinal fluid very bright, grey matter grey, white matter dark, fat fairly "
        "bright, lesions and oedema bright",
        "T2: white ventricles and sulci, cortex brighter than white matter, hyperintense lesion",
        "T2 weighted brain, bright fluid, dark white matter, bright oedema, dark flowing blood",
    ),
    "FLAIR": (
        "FLAIR, fluid attenuated inversion recovery: cerebrospinal fluid dark, grey matter brighter than white "
        "matter, fat bright, lesions and oedema very bright",
        "FLAIR: black ventricles, grey cortex brighter than white matter, hyperintense white matter lesion",
        "T2 FLAIR brain, suppressed dark fluid, little contrast of grey and white, bright lesions",
    ),
    "DWI": (
        "diffusion weighted MR image at b 1000: cerebrospinal fluid black, grey matter slightly brighter than white "
        "matter, fat suppressed, acute infarct very bright",
        "DWI trace: dark ventricles, dull blurred brain, no scalp, bright restricted diffusion",
        "diffusion weighted brain, echo planar, low resolution, dark fluid, bright acute stroke",
    ),
    "ADC": (
        "apparent diffusion coefficient map: cerebrospinal fluid very bright, grey and white matter equally dark "
        "grey, fat absent, acute infarct dark, oedema bright",
        "ADC map: white ventricles, uniform dark brain, noisy background, dark restricted diffusion",
        "quantitative diffusion map of the brain, bright fluid, flat grey tissue, dark acute stroke",
    ),
}
