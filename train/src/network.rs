//! A model ready to run: its numbers and its encoder.

use crate::auxiliary::Auxiliary;
use crate::device;
use crate::observer::{Event, Observer};
use crate::vocabulary;
use autograd::{Pool, Tape, Var};
use data::Tokenizer;
use engine::container::{checksum, checksum_of};
use engine::{DType, Engine, Error, Packed, Precision, Result, Stream};
use models::hf::{Import, Prompts};
use models::{Architecture, Encoder, Model, Scope};
use std::path::PathBuf;

/// A model and its encoder.
pub struct Network {
    /// Architecture and numbers.
    pub model: Model,
    /// The encoder over those numbers.
    pub encoder: Box<dyn Encoder>,
    /// Forget the inside of each layer after forward and compute it again in backward.
    pub recompute: bool,
    /// Vectors beside the texts of the labels of one data set, where such were learned. No model directory has them.
    pub auxiliary: Option<Auxiliary>,
    /// The prompts that it was made for, and whether it pools their tokens, if it came from a directory.
    prompts: Option<Prompts>,
    /// The beginnings of texts that are read and not pooled: [`Scope::unpooled`].
    unpooled: Vec<Vec<u32>>,
    /// Where the model's own tokenizer lies, if it came from a directory.
    tokenizer_folder: Option<PathBuf>,
}

impl Network {
    /// The network of a model.
    pub fn new(model: Model) -> Network {
        let encoder = model.encoder();
        Network {
            model,
            encoder,
            recompute: false,
            auxiliary: None,
            prompts: None,
            unpooled: vec![],
            tokenizer_folder: None,
        }
    }
    /// The network of a model directory.
    ///
    /// # Errors
    /// If it leaves prompts out of its pooling, and has no tokenizer that could tell them.
    pub fn of_import(import: Import) -> Result<Network> {
        let Import { model, tokenizer_folder, prompts, .. } = import;
        let (own, pooled) = ([prompts.query.clone(), prompts.label.clone()], prompts.pooled);
        let network = Network {
            tokenizer_folder: Some(tokenizer_folder),
            prompts: Some(prompts),
            ..Network::new(model)
        };
        if pooled || own.iter().all(String::is_empty) {
            return Ok(network);
        }
        let tokenizer = network.tokenizer()?;
        network.leaving_out(&tokenizer, [&own[0], &own[1]])
    }
    /// The same network, which reads the tokens of these prompts and does not pool them. One that takes the first token
    /// pools none of them as it is.
    ///
    /// # Errors
    /// If it is a bag and there is a prompt, or the tokenizer fails.
    pub(crate) fn leaving_out(mut self, tokenizer: &Tokenizer, prompts: [&str; 2]) -> Result<Network> {
        let prompts: Vec<&str> = prompts.into_iter().filter(|prompt| !prompt.is_empty()).collect();
        if !prompts.is_empty() && matches!(self.model.architecture, Architecture::Bag(_)) {
            let e = Error::input(
                "a bag is the mean of its tokens: prompts that it shall not pool say nothing to it",
            );
            return Err(
                e.help("leave the prompts away: `lode prepare … --query-prompt '' --label-prompt ''`")
            );
        }
        let takes_first = self.model.architecture.pooling() == Pool::First;
        let prompts = prompts.into_iter().filter(|_| !takes_first);
        self.unpooled = prompts.map(|prompt| tokenizer.beginning(prompt)).collect::<Result<_>>()?;
        Ok(self)
    }
    /// The same network, which pools all that it reads.
    pub(crate) fn pooling_all(self) -> Network {
        Network { unpooled: vec![], ..self }
    }
    /// Another model that pools prompts as this one does.
    pub(crate) fn with_model(&self, model: Model) -> Network {
        Network { unpooled: self.unpooled.clone(), ..Network::new(model) }
    }
    /// Whether the tokens of prompts are pooled with those of their texts.
    pub fn pools_prompts(&self) -> bool {
        self.unpooled.is_empty()
    }
    /// Refuses a model whose linear layers shall be rounded and that has none.
    pub(crate) fn demand_matrix(&self, precision: Precision) -> Result<()> {
        if self.model.matrices().next().is_some() {
            return Ok(());
        }
        let message = format!("this model has no matrix product to compute in {}", precision.name());
        Err(Error::input(message).help("a bag is sums of rows: leave --precision away"))
    }
    /// Whose instructions compute its bits.
    pub(crate) fn kernel_class(&self, engine: &Engine) -> String {
        let params = &self.model.params;
        device::kernel_class(params.ids().next().and_then(|id| params.value(id).cuda()), engine)
    }
    /// The same network for inference, with the matrices of its linear layers rounded.
    ///
    /// # Errors
    /// If it has none.
    pub fn rounded(self, engine: &Engine, precision: Precision) -> Result<Network> {
        self.demand_matrix(precision)?;
        let network = self.with_model(self.model.rounded(engine, precision));
        let Network { auxiliary, prompts, tokenizer_folder, .. } = self;
        Ok(Network { auxiliary, prompts, tokenizer_folder, ..network })
    }
    /// The model's own tokenizer.
    ///
    /// # Errors
    /// If it cannot be read, or the model is fresh and has none.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        match &self.tokenizer_folder {
            Some(folder) => Tokenizer::from_dir(folder),
            None => Err(Error::input("a fresh model has no tokenizer: its data set has one")),
        }
    }
    /// What stands before a query and before a label for this model; nothing where it does not say.
    pub fn prompts(&self) -> [&str; 2] {
        self.prompts.as_ref().map_or([""; 2], |prompts| [&*prompts.query, &prompts.label])
    }
    /// From now on it learns what its data set is prepared with, and nobody is told that this is something else.
    #[must_use]
    pub(crate) fn of_any_prompts(self) -> Network {
        Network { prompts: None, ..self }
    }
    /// Demands that it is known how the model pools the tokens of such a prompt.
    ///
    /// # Errors
    /// If it leaves prompts out of its pooling, and this one is none of its own.
    pub fn demand_known(&self, prompt: &str) -> Result<()> {
        let Some(own) = self.prompts.as_ref().filter(|own| !own.pooled) else { return Ok(()) };
        if ["", &own.query, &own.label].contains(&prompt) {
            return Ok(());
        }
        let what = format!(
            "this model leaves its prompts `{}` and `{}` out of its pooling, and `{prompt}` is none of them",
            own.query, own.label
        );
        Err(Error::input(what).help("use its prompts, or none"))
    }
    /// Says so where other prompts stand before queries and labels than the model was made for.
    pub fn warn_of_other_prompts(&self, prompts: [&str; 2], observer: &mut dyn Observer) {
        if let Some(text) = self.prompts.as_ref().and_then(|own| vocabulary::other_prompts(own, prompts)) {
            observer.event(&Event::Warning(&text));
        }
    }
    /// Sets the dropout of the encoder in training.
    pub fn set_dropout(&mut self, rate: f32) {
        self.model.architecture.set_dropout(rate);
        self.encoder = self.model.encoder();
    }
    /// The same network after its architecture has changed.
    #[must_use]
    pub(crate) fn remade(self) -> Network {
        Network { encoder: self.model.encoder(), ..self }
    }
    /// The length of an embedding.
    pub fn width(&self) -> usize {
        self.encoder.width()
    }
    /// Bytes of its numbers: parameters, and auxiliary vectors.
    pub(crate) fn bytes(&self) -> usize {
        4 * self.model.params.count() + self.auxiliary.as_ref().map_or(0, Auxiliary::bytes)
    }
    /// Embeds texts on a tape: `[B, width]`. Text `i` has dropout slot `first_slot + i`.
    pub fn encode<'t>(
        &'t self,
        tape: &'t Tape,
        text: &Packed,
        first_slot: u32,
        dropout: Option<Stream>,
    ) -> Var<'t> {
        let Network { recompute, ref unpooled, .. } = *self;
        let scope = Scope { tape, params: &self.model.params, dropout, recompute, unpooled };
        self.encoder.encode(&scope, text, first_slot)
    }
    /// A hash of architecture, numbers and auxiliary vectors: equal for equal models.
    pub fn fingerprint(&self) -> u64 {
        let params = &self.model.params;
        let sums = params.ids().flat_map(|id| {
            let value = params.value(id).to_cpu();
            let sum = match value.dtype() {
                DType::F32 => checksum_of(value.data::<f32>()),
                _ => checksum(&value.to_f64().into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>()),
            };
            sum.to_le_bytes()
        });
        let left_out = if self.pools_prompts() { String::new() } else { format!("{:?}", self.unpooled) };
        let shape = format!("{:?}{left_out}", self.model.architecture).into_bytes();
        let vectors = self.auxiliary.iter().flat_map(|own| {
            let [numbers, of] =
                [checksum_of(own.vectors().to_cpu().data::<f32>()), checksum_of(own.of_labels())];
            [numbers.to_le_bytes(), of.to_le_bytes()].concat()
        });
        checksum(&sums.chain(shape).chain(vectors).collect::<Vec<u8>>())
    }
}
