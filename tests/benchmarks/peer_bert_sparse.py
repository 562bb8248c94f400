"""The BERT of `peer_bert.py` with a head that reads only the tokens to be guessed, as in Crammed BERT (arXiv 2212.14034)."""

import torch
from peer_bert import main
from torch.nn import functional as F
from transformers import BertForMaskedLM
from transformers.modeling_outputs import MaskedLMOutput


class SparseBert(BertForMaskedLM):
    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> MaskedLMOutput:  # type: ignore[override]
        places = labels != -100
        scores = self.cls(self.bert(input_ids).last_hidden_state[places])
        return MaskedLMOutput(loss=F.cross_entropy(scores, labels[places]))


SparseBert.__name__ = BertForMaskedLM.__name__  # under which its weights are saved, and read by what scores them


if __name__ == "__main__":
    main(SparseBert)
