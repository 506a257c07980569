//! A graph that grows node by node, and the file that it becomes.
//!
//! ```text
//! ModelProto { ir_version, opset_import, producer, metadata, graph }
//! GraphProto { node*, initializer*, input*, output* }           after onnx.proto of ONNX 1.12: IR 8, opset 17
//! ```
//! Numbers are written one tensor after another behind everything else: no copy of all of them is made.

use crate::protobuf::Message;
use autograd::{ParamId, Params};
use engine::{Error, Kind, Result};

/// IR version and opset: what ONNX Runtime has read since 1.13.
const IR: u64 = 8;
const OPSET: u64 = 17;
/// The largest message of protobuf.
const LARGEST: u64 = i32::MAX as u64;

/// Types of numbers in ONNX.
const FLOAT: u64 = 1;
const INT64: u64 = 7;

/// The name of a value.
pub(super) type Name = String;

/// What a node is told besides its inputs.
pub(super) enum Told<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
}

/// The numbers of an initializer.
enum Numbers {
    /// A parameter as it is.
    Param(ParamId),
    /// A matrix of a linear layer, which ONNX multiplies from the right.
    Transposed(ParamId),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

struct Initializer {
    name: Name,
    dims: Vec<usize>,
    numbers: Numbers,
}

/// A dimension of an input or output.
pub(super) enum Dim {
    Named(&'static str),
    Fixed(usize),
}

/// The graph.
pub(super) struct Graph<'a> {
    params: &'a Params,
    nodes: Message,
    ends: Message,
    initializers: Vec<Initializer>,
    /// The part of the model to which what is added now belongs.
    pub(super) part: String,
    count: usize,
}

impl<'a> Graph<'a> {
    pub(super) fn new(params: &'a Params) -> Graph<'a> {
        Graph {
            params,
            nodes: Message::new(),
            ends: Message::new(),
            initializers: vec![],
            part: String::new(),
            count: 0,
        }
    }
    /// An input of whole numbers.
    pub(super) fn input(&mut self, name: &str, dims: &[Dim]) -> Name {
        self.end(11, name, INT64, dims);
        name.to_owned()
    }
    /// Names a value as an output, of floats.
    pub(super) fn output(&mut self, value: &Name, name: &str, dims: &[Dim]) {
        self.node("Identity", &[value], &[name.to_owned()], &[]);
        self.end(12, name, FLOAT, dims);
    }
    fn end(&mut self, field: u32, name: &str, of: u64, dims: &[Dim]) {
        let dim = |dim: &Dim| match dim {
            Dim::Named(name) => Message::new().bytes(2, name),
            Dim::Fixed(n) => Message::new().int(1, *n as u64),
        };
        let shape = dims.iter().fold(Message::new(), |shape, d| shape.message(1, &dim(d)));
        let tensor = Message::new().int(1, of).message(2, &shape);
        let info = Message::new().bytes(1, name).message(2, &Message::new().message(1, &tensor));
        self.ends = std::mem::take(&mut self.ends).message(field, &info);
    }
    /// A node with one output.
    pub(super) fn op(&mut self, kind: &str, inputs: &[&Name], told: &[(&str, Told<'_>)]) -> Name {
        let [name] = self.ops(kind, inputs, told);
        name
    }
    /// A node with several outputs.
    pub(super) fn ops<const N: usize>(
        &mut self,
        kind: &str,
        inputs: &[&Name],
        told: &[(&str, Told<'_>)],
    ) -> [Name; N] {
        let names = std::array::from_fn(|_| self.fresh(kind));
        self.node(kind, inputs, &names, told);
        names
    }
    fn fresh(&mut self, kind: &str) -> Name {
        self.count += 1;
        let slash = if self.part.is_empty() { "" } else { "/" };
        format!("{}{slash}{kind}_{}", self.part, self.count)
    }
    fn node(&mut self, kind: &str, inputs: &[&Name], outputs: &[Name], told: &[(&str, Told<'_>)]) {
        let node = inputs.iter().fold(Message::new(), |node, name| node.bytes(1, name));
        let node = outputs.iter().fold(node, |node, name| node.bytes(2, name));
        let node = node.bytes(3, &outputs[0]).bytes(4, kind);
        let node = told.iter().fold(node, |node, (name, told)| {
            let attribute = Message::new().bytes(1, name);
            let attribute = match told {
                Told::Float(x) => attribute.float(2, *x).int(20, 1),
                Told::Int(n) => attribute.int(3, *n as u64).int(20, 2),
                Told::Ints(all) => all.iter().fold(attribute, |a, n| a.int(8, *n as u64)).int(20, 7),
            };
            node.message(5, &attribute)
        });
        self.nodes = std::mem::take(&mut self.nodes).message(1, &node);
    }
    /// The numbers of a parameter.
    pub(super) fn values(&self, id: ParamId) -> &'a [f32] {
        self.params.value(id).data::<f32>()
    }
    /// A parameter as it is.
    pub(super) fn param(&mut self, id: ParamId) -> Name {
        let (name, dims) = (self.params.name(id).to_owned(), self.params.value(id).shape().dims().to_vec());
        self.add(name, dims, Numbers::Param(id))
    }
    /// x Wᵀ + b, W `[out, in]`.
    pub(super) fn linear(&mut self, x: &Name, weight: ParamId, bias: Option<ParamId>) -> Name {
        let name = format!("{}.T", self.params.name(weight));
        let shape = self.params.value(weight).shape();
        let weight = self.add(name, vec![shape.dim(1), shape.dim(0)], Numbers::Transposed(weight));
        let product = self.op("MatMul", &[x, &weight], &[]);
        match bias {
            None => product,
            Some(bias) => {
                let bias = self.param(bias);
                self.op("Add", &[&product, &bias], &[])
            }
        }
    }
    /// A number that is the same for all.
    pub(super) fn float(&mut self, value: f32) -> Name {
        let name = self.fresh("float");
        self.add(name, vec![], Numbers::Floats(vec![value]))
    }
    /// A table.
    pub(super) fn floats(&mut self, dims: &[usize], values: Vec<f32>) -> Name {
        let name = self.fresh("floats");
        self.add(name, dims.to_vec(), Numbers::Floats(values))
    }
    /// A whole number that is the same for all.
    pub(super) fn int(&mut self, value: i64) -> Name {
        let name = self.fresh("int");
        self.add(name, vec![], Numbers::Ints(vec![value]))
    }
    /// A list of whole numbers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Name {
        let name = self.fresh("ints");
        self.add(name, vec![values.len()], Numbers::Ints(values.to_vec()))
    }
    fn add(&mut self, name: Name, dims: Vec<usize>, numbers: Numbers) -> Name {
        self.initializers.push(Initializer { name: name.clone(), dims, numbers });
        name
    }
    /// Hands out the bytes of the model, in pieces.
    ///
    /// # Errors
    /// `Refused` if they are more than protobuf allows, and what `put` says.
    pub(super) fn write(
        &self,
        metadata: &[(&str, String)],
        put: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let small = [&self.nodes, &Message::new().bytes(2, "encoder"), &self.ends];
        let heads: Vec<Message> = self.initializers.iter().map(Initializer::head).collect();
        let bytes = |message: &Message| message.as_bytes().len() as u64;
        let whole = |(one, head): (&Initializer, &Message)| bytes(head) + one.bytes();
        let weights = self.initializers.iter().zip(&heads);
        let total = small.into_iter().map(bytes).sum::<u64>() + weights.clone().map(whole).sum::<u64>();
        let opset = Message::new().bytes(1, "").int(2, OPSET);
        let model = Message::new().int(1, IR).bytes(2, "lode").bytes(3, env!("CARGO_PKG_VERSION"));
        let model = metadata.iter().fold(model.message(8, &opset), |model, (key, value)| {
            model.message(14, &Message::new().bytes(1, key).bytes(2, value))
        });
        let model = model.opening(7, total);
        if total + bytes(&model) > LARGEST {
            let [most, needs] = [LARGEST, total].map(|bytes| bytes as f64 / 1e9);
            let message = format!("an ONNX file holds {most:.1} GB at most, this model needs {needs:.1} GB");
            return Err(Error::new(Kind::Refused, message).help("--to hf has no such limit"));
        }
        put(model.as_bytes())?;
        small.into_iter().try_for_each(|message| put(message.as_bytes()))?;
        for (one, head) in weights {
            put(head.as_bytes())?;
            self.numbers(one, put)?;
        }
        Ok(())
    }
    fn numbers(&self, one: &Initializer, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let floats =
            |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        let bytes = match &one.numbers {
            Numbers::Floats(values) => floats(&mut values.iter().copied()),
            Numbers::Ints(values) => values.iter().flat_map(|n| n.to_le_bytes()).collect(),
            Numbers::Param(id) => floats(&mut self.values(*id).iter().copied()),
            Numbers::Transposed(id) => {
                let (values, rows) = (self.values(*id), one.dims[0]);
                floats(&mut (0..rows).flat_map(|row| values.iter().skip(row).step_by(rows).copied()))
            }
        };
        put(&bytes)
    }
}

impl Initializer {
    /// Bytes of its numbers.
    fn bytes(&self) -> u64 {
        let each = if matches!(self.numbers, Numbers::Ints(_)) { size_of::<i64>() } else { size_of::<f32>() };
        (self.dims.iter().product::<usize>() * each) as u64
    }
    /// All of its field but its numbers, which follow.
    fn head(&self) -> Message {
        let of = if matches!(self.numbers, Numbers::Ints(_)) { INT64 } else { FLOAT };
        let tensor = self.dims.iter().fold(Message::new(), |tensor, &n| tensor.int(1, n as u64));
        let tensor = tensor.int(2, of).bytes(8, &self.name).opening(9, self.bytes());
        let length = tensor.as_bytes().len() as u64 + self.bytes();
        Message::new().opening(5, length).followed_by(&tensor)
    }
}
