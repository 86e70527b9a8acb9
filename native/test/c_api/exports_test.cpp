// The library exports exactly what the header declares: the dynamic symbol table against the header's text.

#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "c_api/border.h"

namespace smpo::test {

std::set<std::string> declared_functions() {
  std::ifstream in(SMPO_HEADER);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::string code = std::regex_replace(text, std::regex(R"(/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)"), "");
  const std::regex function(R"((smpo_\w+)\s*\()");
  std::set<std::string> names;
  for (std::sregex_iterator it(code.begin(), code.end(), function), end; it != end; ++it) names.insert((*it)[1]);
  return names;
}

namespace {

// Exported symbols of a 64-bit ELF file: functions and data.
std::set<std::string> exported_symbols(const char* path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(in), {}};
  const auto read = [&file](size_t offset, auto* value) {
    ASSERT_LE(offset + sizeof *value, file.size());
    std::memcpy(value, file.data() + offset, sizeof *value);
  };
  std::set<std::string> names;
  Elf64_Ehdr header{};
  read(0, &header);
  EXPECT_EQ(std::memcmp(header.e_ident, ELFMAG, SELFMAG), 0) << path;
  for (size_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section{};
    read(header.e_shoff + i * header.e_shentsize, &section);
    if (section.sh_type != SHT_DYNSYM) continue;
    Elf64_Shdr strings{};
    read(header.e_shoff + section.sh_link * header.e_shentsize, &strings);
    for (size_t offset = 0; offset < section.sh_size; offset += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol{};
      read(section.sh_offset + offset, &symbol);
      if (symbol.st_shndx != SHN_UNDEF && ELF64_ST_BIND(symbol.st_info) != STB_LOCAL) {
        names.insert(file.data() + strings.sh_offset + symbol.st_name);
      }
    }
  }
  return names;
}

std::set<std::string> without(const std::set<std::string>& from, const std::set<std::string>& taken) {
  std::set<std::string> rest;
  std::set_difference(from.begin(), from.end(), taken.begin(), taken.end(), std::inserter(rest, rest.end()));
  return rest;
}

using Names = std::set<std::string>;

TEST(Exports, AreExactlyTheHeadersFunctions) {
  const Names declared = declared_functions();
  const Names exported = exported_symbols(SMPO_LIBRARY);
  EXPECT_EQ(without(declared, exported), Names{}) << "declared, not exported";
  EXPECT_EQ(without(exported, declared), Names{}) << "exported, not declared";
}

TEST(Exports, TheComparisonNoticesALibraryThatDiffers) {
  const Names declared = declared_functions();
  const Names exported = exported_symbols(SMPO_ALTERED_LIBRARY);
  EXPECT_TRUE(without(declared, exported).contains("smpo_session_open"));
  EXPECT_FALSE(without(declared, exported).contains("smpo_abi_version"));
  EXPECT_TRUE(without(exported, declared).contains("smpo_undeclared"));
}

TEST(Exports, TheHeadersTextIsUnderstood) {
  const Names declared = declared_functions();
  EXPECT_EQ(declared.size(), 83u);
  EXPECT_TRUE(declared.contains("smpo_abi_version"));
  EXPECT_TRUE(declared.contains("smpo_tensor_close"));
  EXPECT_FALSE(declared.contains("smpo_unet_renoise"));
}

}  // namespace
}  // namespace smpo::test
