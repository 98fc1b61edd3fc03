/* Paths and the locations they lead to. */
#include "gen/plugin/place.h"

#include <string.h>

gen_path path_to(gen_path path, int32_t field, size_t index) {
  path.at[path.count++] = field;
  path.at[path.count++] = (int32_t)index;
  return path;
}

const Google__Protobuf__SourceCodeInfo__Location *
place_find(const Google__Protobuf__FileDescriptorProto *file, const gen_path *path) {
  const Google__Protobuf__SourceCodeInfo *source = file->source_code_info;
  if (source == NULL || path == NULL)
    return NULL;
  for (size_t i = 0; i < source->n_location; i++) {
    const Google__Protobuf__SourceCodeInfo__Location *location = source->location[i];
    if (location->n_path == path->count &&
        memcmp(location->path, path->at, path->count * sizeof *path->at) == 0)
      return location;
  }
  return NULL;
}

const char *place_format(gen_pool *pool, const Google__Protobuf__FileDescriptorProto *file,
                         const gen_path *path) {
  const char *name = file->name != NULL ? file->name : "";
  const Google__Protobuf__SourceCodeInfo__Location *location = place_find(file, path);
  if (location == NULL || location->n_span < 2)
    return name;
  return pool_format(pool, "%s:%lld:%lld", name, location->span[0] + 1LL, location->span[1] + 1LL);
}
