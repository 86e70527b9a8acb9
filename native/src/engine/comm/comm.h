// Communication between the processes of a distributed run, by PyTorch's c10d: rendezvous with a TCPStore, collectives
// with Gloo on CPUs and NCCL on GPUs.
//
// All processes of a group call the same functions in the same order. A process that ends or does not answer within the
// group's timeout makes the calls of the others fail with SMPO_PEER_LOST; the group is then unusable.
#ifndef SMPO_ENGINE_COMM_COMM_H_
#define SMPO_ENGINE_COMM_COMM_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace smpo::engine {

class Session;
struct Model;
struct Tensor;

struct CommConfig {
  int32_t rank;        // 0 .. size - 1
  int32_t world_size;  // number of processes
  // Address at which rank 0 listens and to which the others connect.
  std::string host;
  uint16_t port;
  std::chrono::milliseconds timeout;
  // Must be the same on all ranks: a digest of what has to agree, such as build, recipe and data.
  std::string fingerprint;
  // Part of every key in the store; keeps groups that share a store apart.
  std::string prefix;
  // How long to wait for all processes to arrive.
  std::chrono::milliseconds join_timeout;
  // Whether a store listens already, so that rank 0 connects to it like the others.
  bool store_exists;
};

// The group of processes, seen from one of them.
struct Comm;

// Waits for all processes. Throws Error: SMPO_PEER_LOST if one of them does not come in time, SMPO_INVALID_ARGUMENT for
// a rank that another process has taken, for another size than that of rank 0, and for another fingerprint;
// SMPO_UNSUPPORTED if the port cannot be opened.
std::shared_ptr<Comm> open_comm(Session& session, CommConfig config);

// Replaces the tensor by its sum over all ranks. The order of the summation depends on the size of the group and on the
// number of elements only, so repeated sums have the same bits, which are the same on every rank.
void all_reduce(Comm& comm, Tensor& tensor);
// The same for all gradients of a model, in their flat f32 buffer.
void all_reduce_gradients(Comm& comm, Model& model);
// Replaces the tensor by that of one rank.
void broadcast(Comm& comm, Tensor& tensor, int32_t root);
// Returns the tensors of all ranks, [size,...] in order of rank, on rank `root`; null on the others.
std::shared_ptr<Tensor> gather(Comm& comm, const Tensor& tensor, int32_t root);
// Returns when all ranks have called it.
void barrier(Comm& comm);

int32_t rank_of(const Comm& comm);
int32_t size_of(const Comm& comm);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_COMM_COMM_H_
