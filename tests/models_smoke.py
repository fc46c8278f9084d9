import torch
from transformers import *
from squeeze.models import families
torch.manual_seed(0)
for M,C,kw in [(RobertaForSequenceClassification,RobertaConfig,dict(hidden_size=32,num_attention_heads=4,intermediate_size=64,num_hidden_layers=2,vocab_size=50,max_position_embeddings=20)),
 (XLMRobertaForSequenceClassification,XLMRobertaConfig,dict(hidden_size=32,num_attention_heads=4,intermediate_size=64,num_hidden_layers=2,vocab_size=50,max_position_embeddings=20)),
 (DistilBertForSequenceClassification,DistilBertConfig,dict(dim=32,n_heads=4,hidden_dim=64,n_layers=2,vocab_size=50,max_position_embeddings=20)),
 (ElectraForSequenceClassification,ElectraConfig,dict(embedding_size=16,hidden_size=32,num_attention_heads=4,intermediate_size=64,num_hidden_layers=2,vocab_size=50,max_position_embeddings=20)),
 (MPNetForSequenceClassification,MPNetConfig,dict(hidden_size=32,num_attention_heads=4,intermediate_size=64,num_hidden_layers=2,vocab_size=50,max_position_embeddings=20)),
 (BertForSequenceClassification,BertConfig,dict(hidden_size=32,num_attention_heads=4,intermediate_size=64,num_hidden_layers=2,vocab_size=50,max_position_embeddings=20))]:
    m=M(C(num_labels=3,initializer_range=0.3,**kw)).eval(); e=families.read(m)
    pad=m.config.pad_token_id or 0
    ids=torch.randint(5,50,(3,11)); mask=torch.ones_like(ids); mask[1,7:]=0; ids[1,7:]=pad; mask[2,3:]=0; ids[2,3:]=pad
    with torch.no_grad(): a=m(input_ids=ids,attention_mask=mask).logits; b=e(ids,mask); c=e.observe(ids,mask,inside=True).logits
    print(M.__name__,(a-b).abs().max().item(),(a-c).abs().max().item(), a.abs().max().item())
