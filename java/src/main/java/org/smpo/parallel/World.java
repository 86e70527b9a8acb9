package org.smpo.parallel;

import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.ffi.CpuInfo;

/// The place of this process among those that work on one task.
///
/// @param rank number of this process, 0 to `size - 1`
/// @param size number of processes
/// @param localRank number of this process among those on its machine
/// @param localSize number of processes on this machine
/// @param host name or address at which all processes reach rank 0; empty in a world of one process
/// @param port port on which rank 0 listens
/// @param storeExists whether the launcher listens there already, so that rank 0 only connects
/// @param attempt number of restarts by the launcher, which keeps the keys of attempts apart
public record World(
        int rank, int size, int localRank, int localSize, String host, int port, boolean storeExists, int attempt) {
    /// One process by itself.
    public static final World ALONE = new World(0, 1, 0, 1, "", 0, false, 0);

    private static final Pattern OPTION = Pattern.compile("(\\d{1,6})/(\\d{1,6})@(.+):(\\d{1,5})");
    private static final Pattern NODES = Pattern.compile("([^,\\[]+)(\\[([^\\],-]+)[^\\]]*])?.*");
    private static final int FIRST_PORT = 20_000;
    private static final int PORTS = 10_000;
    private static final int LARGEST_PORT = 65_535;

    public World {
        if (size < 1 || rank < 0 || rank >= size) {
            throw new IllegalArgumentException(
                    "rank: expected 0 to " + (size - 1) + " of " + size + " processes, got " + rank);
        }
        if (localSize < 1 || localSize > size || localRank < 0 || localRank >= localSize) {
            throw new IllegalArgumentException("local rank: expected 0 to " + (localSize - 1) + " of " + localSize
                    + " processes of the machine (" + size + " in all), got " + localRank);
        }
        if (size > 1 && (port < 1 || port > LARGEST_PORT)) {
            throw new IllegalArgumentException("port: expected 1 to " + LARGEST_PORT + ", got " + port);
        }
    }

    /// Determines the place of this process: from the option if it is given, else from the environment
    /// that torchrun, `smpo launch` or Slurm's `srun` set; without any, the process is alone.
    ///
    /// @param option `RANK/SIZE@HOST:PORT`; processes on the loopback address share a machine,
    ///     others have one each
    /// @throws IllegalArgumentException when the option or the environment is incomplete or
    ///     contradicts itself
    public static World of(Optional<String> option, Map<String, String> environment) {
        if (option.isPresent()) {
            return parse(option.get());
        }
        if (environment.containsKey("RANK") && environment.containsKey("WORLD_SIZE")) {
            return ofTorchrun(environment);
        }
        if (environment.containsKey("SLURM_PROCID") && environment.containsKey("SLURM_STEP_NUM_TASKS")) {
            return ofSlurm(environment);
        }
        return ALONE;
    }

    private static World parse(String text) {
        Matcher matcher = OPTION.matcher(text);
        if (!matcher.matches()) {
            throw new IllegalArgumentException(
                    "--world: expected RANK/SIZE@HOST:PORT, such as 0/2@127.0.0.1:29500, got " + text);
        }
        try {
            int rank = Integer.parseInt(matcher.group(1));
            int size = Integer.parseInt(matcher.group(2));
            String host = matcher.group(3);
            boolean oneMachine = host.equals("localhost") || host.equals("::1") || host.startsWith("127.");
            return size == 1 && rank == 0
                    ? ALONE
                    : new World(
                            rank,
                            size,
                            oneMachine ? rank : 0,
                            oneMachine ? size : 1,
                            host,
                            Integer.parseInt(matcher.group(4)),
                            false,
                            0);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("--world: " + e.getMessage(), e);
        }
    }

    /// torchrun's agent holds the store itself unless told otherwise, and says so.
    private static World ofTorchrun(Map<String, String> environment) {
        int size = number(environment, "WORLD_SIZE");
        if (size == 1) {
            return ALONE;
        }
        if (!environment.containsKey("MASTER_ADDR") || !environment.containsKey("MASTER_PORT")) {
            throw new IllegalArgumentException(
                    "environment: expected MASTER_ADDR and MASTER_PORT beside RANK and WORLD_SIZE=" + size
                            + ", found one of them or none; start all processes with torchrun or smpo launch");
        }
        return checked(
                environment,
                new World(
                        number(environment, "RANK"),
                        size,
                        number(environment, "LOCAL_RANK", 0),
                        number(environment, "LOCAL_WORLD_SIZE", 1),
                        environment.get("MASTER_ADDR"),
                        number(environment, "MASTER_PORT"),
                        Boolean.parseBoolean(environment.getOrDefault("TORCHELASTIC_USE_AGENT_STORE", "false")),
                        number(environment, "TORCHELASTIC_RESTART_COUNT", 0)));
    }

    /// The first node of the step holds rank 0. Two steps of a job have different ports.
    private static World ofSlurm(Map<String, String> environment) {
        int size = number(environment, "SLURM_STEP_NUM_TASKS");
        if (size == 1) {
            return ALONE;
        }
        String nodes = environment.getOrDefault("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST"));
        String host = environment.getOrDefault("MASTER_ADDR", nodes == null ? null : firstNode(nodes));
        if (host == null) {
            throw new IllegalArgumentException("environment: expected SLURM_STEP_NODELIST beside SLURM_PROCID, found"
                    + " none; start all processes with srun, or set MASTER_ADDR");
        }
        int job = number(environment, "SLURM_JOB_ID", 0);
        int step = number(environment, "SLURM_STEP_ID", 0);
        int port = number(environment, "MASTER_PORT", FIRST_PORT + Math.floorMod(31 * job + step, PORTS));
        return checked(
                environment,
                new World(
                        number(environment, "SLURM_PROCID"),
                        size,
                        number(environment, "SLURM_LOCALID", 0),
                        localSize(environment),
                        host,
                        port,
                        false,
                        0));
    }

    /// The number of tasks on this node, from a list such as `4(x2),3`: four on each of two nodes, three
    /// on the third.
    private static int localSize(Map<String, String> environment) {
        String list = environment.getOrDefault(
                "SLURM_STEP_TASKS_PER_NODE", environment.getOrDefault("SLURM_TASKS_PER_NODE", ""));
        int node = number(environment, "SLURM_NODEID", 0);
        Matcher counts = Pattern.compile("(\\d{1,6})(?:\\(x(\\d{1,6})\\))?").matcher(list);
        while (counts.find()) {
            int nodes = counts.group(2) == null ? 1 : Integer.parseInt(counts.group(2));
            if (node < nodes) {
                return Integer.parseInt(counts.group(1));
            }
            node -= nodes;
        }
        return environment.containsKey("SLURM_LOCALID") ? number(environment, "SLURM_LOCALID") + 1 : 1;
    }

    /// The first name of a list such as `gpu[003-006,010],login1`.
    private static String firstNode(String list) {
        Matcher matcher = NODES.matcher(list);
        if (!matcher.matches()) {
            throw new IllegalArgumentException(
                    "environment: SLURM_STEP_NODELIST: expected names of nodes, found " + list + "; set MASTER_ADDR");
        }
        return matcher.group(1) + (matcher.group(3) == null ? "" : matcher.group(3));
    }

    private static World checked(Map<String, String> environment, World world) {
        if (environment.getOrDefault("MASTER_ADDR", world.host).isBlank()) {
            throw new IllegalArgumentException("environment: MASTER_ADDR: expected a name or an address, found none");
        }
        return world;
    }

    private static int number(Map<String, String> environment, String name) {
        String text = environment.get(name);
        if (!text.matches("\\d{1,9}")) {
            throw new IllegalArgumentException("environment: " + name + ": expected a number, found " + text);
        }
        return Integer.parseInt(text);
    }

    private static int number(Map<String, String> environment, String name, int otherwise) {
        return environment.containsKey(name) ? number(environment, name) : otherwise;
    }

    /// Whether this is rank 0, which writes files and prints results.
    public boolean isFirst() {
        return rank == 0;
    }

    /// The device of this process: processes that share a machine have one GPU each.
    ///
    /// @param device `cpu`, `cuda` or `cuda:N`, for one process
    public String device(String device) {
        return size == 1 || !device.startsWith("cuda") ? device : "cuda:" + gpu();
    }

    /// The index of this process's GPU: processes that share a machine have one each, in the order of
    /// their local ranks. Where CUDA_VISIBLE_DEVICES lists one GPU for each process, that is its own.
    private int gpu() {
        String list = System.getenv("CUDA_VISIBLE_DEVICES");
        return localRank % (list == null || list.isBlank() ? localSize : Math.min(localSize, list.split(",").length));
    }

    /// The number of threads of this process: the given one, else its share of the machine's cores.
    ///
    /// @param given 0 for a share
    /// @return 0 for all cores
    public int threads(int given) {
        return given != 0 || localSize == 1 ? given : Math.max(1, CpuInfo.read().physicalCores() / localSize);
    }

    /// Whether this rank works on an item of a list that is dealt out one by one.
    public boolean has(int item) {
        return item % size == rank;
    }
}
