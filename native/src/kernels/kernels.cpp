// Anchor of the layer; the families are in reference/, cpu/ and cuda/.
namespace smpo::kernels {}
