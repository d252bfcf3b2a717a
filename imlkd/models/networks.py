"""The networks that can be trained here, by the name that configurations and ``model.yaml`` call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imlkd.features.frontends import FbankSettings
from imlkd.models.campplus import CampPlus, CampPlusConfig
from imlkd.models.ecapa import Ecapa, EcapaConfig
from imlkd.models.eres2net import Eres2net, Eres2netConfig
from imlkd.models.fbank_model import FbankModel
from imlkd.models.nexttdnn import NextTdnn, NextTdnnConfig
from imlkd.models.redimnet import Redimnet, RedimnetConfig
from imlkd.models.resnet import Resnet, ResnetConfig
from imlkd.models.tdnn import Tdnn, TdnnConfig
from imlkd.models.xvector import Xvector, XvectorConfig

NetworkSettings = (
    TdnnConfig
    | EcapaConfig
    | XvectorConfig
    | ResnetConfig
    | CampPlusConfig
    | RedimnetConfig
    | NextTdnnConfig
    | Eres2netConfig
)

NETWORKS: Mapping[str, Any] = {
    "tdnn": Tdnn,
    "ecapa": Ecapa,
    "xvector": Xvector,
    "resnet": Resnet,
    "campplus": CampPlus,
    "redimnet": Redimnet,
    "nexttdnn": NextTdnn,
    "eres2net": Eres2net,
}
CONFIGS: Mapping[str, type[Any]] = {
    "tdnn": TdnnConfig,
    "ecapa": EcapaConfig,
    "xvector": XvectorConfig,
    "resnet": ResnetConfig,
    "campplus": CampPlusConfig,
    "redimnet": RedimnetConfig,
    "nexttdnn": NextTdnnConfig,
    "eres2net": Eres2netConfig,
}


def build_network(config: NetworkSettings, fbank: FbankSettings) -> FbankModel:
    """The network that ``config`` describes, with weights drawn from torch's generator.

    :raises UserError: when its values do not go together.
    """
    model: FbankModel = NETWORKS[name_of(config)](config, fbank)
    return model


def name_of(config: object) -> str:
    """What the network with these settings is called."""
    return next(name for name, cls in CONFIGS.items() if type(config) is cls)
